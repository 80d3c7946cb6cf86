//! Reading values in place, each access checked against the bytes that are there.

use super::packed::{Width, ty};
use super::value::{Flex, FlexMap};
use super::{FLEX_DEPTH_MAX, FLEX_SHARED_BYTES_MAX, FlexError};

/// A value within FlexBuffers bytes, not decoded yet.
///
/// ```
/// use reconvene_model::Flex;
/// use reconvene_model::flex::{FlexRef, FlexView};
///
/// let bytes = Flex::from_iter([("sizes", Flex::from([1, 2])), ("theme", "dark".into())]).encode()?;
/// let theme = FlexRef::root(&bytes)?.get("theme")?.expect("it was put in");
/// assert_eq!(theme.view()?, FlexView::String("dark"));
/// # Ok::<(), reconvene_model::flex::FlexError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FlexRef<'a> {
    bytes: &'a [u8],
    /// Where the value stands, or the distance to it.
    place: usize,
    /// How wide that is.
    room: Width,
    ty: u8,
    /// How wide the parts of a value are that stands elsewhere.
    width: Width,
}

/// What a value is; lists and maps are still encoded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum FlexView<'a> {
    /// No value.
    Null,
    /// True or false.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A whole number beyond the reach of [`FlexView::Int`].
    UInt(u64),
    /// A float.
    Float(f64),
    /// Text.
    String(&'a str),
    /// Bytes.
    Bytes(&'a [u8]),
    /// Values in their order.
    List(FlexList<'a>),
    /// Values by name.
    Map(FlexMapRef<'a>),
}

/// A list within FlexBuffers bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FlexList<'a> {
    bytes: &'a [u8],
    start: usize,
    len: usize,
    width: Width,
    /// The one type of all elements; without it, each has a packed type behind the elements.
    of: Option<u8>,
}

/// A map within FlexBuffers bytes; its entries ascend by name.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FlexMapRef<'a> {
    keys: FlexList<'a>,
    values: FlexList<'a>,
}

/// The values of a [`FlexList`].
#[derive(Clone, Debug)]
pub struct FlexItems<'a> {
    list: FlexList<'a>,
    next: usize,
}

const fn damaged(what: &'static str) -> FlexError {
    FlexError::Damaged { what }
}

const OUTSIDE: FlexError = damaged("a Flex value lies outside its bytes");

impl<'a> FlexRef<'a> {
    /// The outermost value.
    ///
    /// # Errors
    ///
    /// [`FlexError::Damaged`] if it does not lie within the bytes.
    pub fn root(bytes: &'a [u8]) -> Result<FlexRef<'a>, FlexError> {
        let [rest @ .., packed, width] = bytes else { return Err(OUTSIDE) };
        let room = Width::of_bytes((*width).into()).ok_or(damaged("the width of a Flex value"))?;
        let place = rest.len().checked_sub(room.bytes()).ok_or(OUTSIDE)?;
        Ok(FlexRef { bytes, place, room, ty: packed >> 2, width: Width::of_packed(*packed) })
    }

    /// What the value is.
    ///
    /// # Errors
    ///
    /// [`FlexError::Damaged`].
    pub fn view(self) -> Result<FlexView<'a>, FlexError> {
        let (here, room) = (self.place, self.room);
        Ok(match self.ty {
            ty::NULL => FlexView::Null,
            ty::BOOL => FlexView::Bool(self.unsigned(here, room)? != 0),
            ty::INT => FlexView::Int(self.signed(here, room)?),
            ty::UINT => whole(self.unsigned(here, room)?),
            ty::FLOAT => FlexView::Float(self.float(here, room)?),
            ty::INDIRECT_INT => FlexView::Int(self.signed(self.target()?, self.width)?),
            ty::INDIRECT_UINT => whole(self.unsigned(self.target()?, self.width)?),
            ty::INDIRECT_FLOAT => FlexView::Float(self.float(self.target()?, self.width)?),
            ty::KEY => FlexView::String(key_at(self.bytes, self.target()?)?),
            ty::STRING => FlexView::String(text(self.sized(self.target()?, 1)?)?),
            ty::BLOB => FlexView::Bytes(self.sized(self.target()?, 1)?),
            ty::MAP => FlexView::Map(self.map()?),
            ty => FlexView::List(self.list(ty)?),
        })
    }

    /// Whether this is null.
    pub fn is_null(self) -> bool {
        self.ty == ty::NULL
    }

    /// The value of this name, if this is a map that has it.
    ///
    /// # Errors
    ///
    /// [`FlexError::Damaged`].
    pub fn get(self, key: &str) -> Result<Option<FlexRef<'a>>, FlexError> {
        match self.ty {
            ty::MAP => self.map()?.get(key),
            _ => Ok(None),
        }
    }

    /// The value at this place, counted from 0, if this is a list that long.
    ///
    /// # Errors
    ///
    /// [`FlexError::Damaged`].
    pub fn at(self, place: usize) -> Result<Option<FlexRef<'a>>, FlexError> {
        match self.view()? {
            FlexView::List(list) => list.get(place),
            _ => Ok(None),
        }
    }

    /// The value and all that is in it, decoded.
    ///
    /// # Errors
    ///
    /// [`FlexError`].
    pub fn to_flex(self) -> Result<Flex, FlexError> {
        self.decode(FLEX_DEPTH_MAX, &mut Budget::of(self.bytes))
    }

    /// Reads the value and all that is in it.
    pub(super) fn check(self) -> Result<(), FlexError> {
        self.walk(FLEX_DEPTH_MAX, &mut Budget::of(self.bytes))
    }

    fn decode(self, depth: usize, budget: &mut Budget) -> Result<Flex, FlexError> {
        let depth = depth.checked_sub(1).ok_or(FlexError::TooDeep)?;
        budget.take()?;
        Ok(match self.view()? {
            FlexView::Null => Flex::Null,
            FlexView::Bool(bit) => Flex::Bool(bit),
            FlexView::Int(number) => Flex::Int(number),
            FlexView::UInt(number) => Flex::UInt(number),
            FlexView::Float(number) => Flex::Float(number),
            FlexView::String(text) => {
                budget.copy(text.len())?;
                Flex::String(text.to_owned())
            }
            FlexView::Bytes(bytes) => {
                budget.copy(bytes.len())?;
                Flex::Bytes(bytes.to_vec())
            }
            FlexView::List(list) => {
                Flex::List(list.iter().map(|value| value?.decode(depth, budget)).collect::<Result<_, _>>()?)
            }
            FlexView::Map(map) => {
                let mut decoded = FlexMap::new();
                map.each(|key, value| {
                    budget.copy(key.len())?;
                    decoded.insert(key.to_owned(), value.decode(depth, budget)?);
                    Ok(())
                })?;
                Flex::Map(decoded)
            }
        })
    }

    fn walk(self, depth: usize, budget: &mut Budget) -> Result<(), FlexError> {
        let depth = depth.checked_sub(1).ok_or(FlexError::TooDeep)?;
        budget.take()?;
        match self.view()? {
            FlexView::String(text) => budget.copy(text.len()),
            FlexView::Bytes(bytes) => budget.copy(bytes.len()),
            FlexView::List(list) => list.iter().try_for_each(|value| value?.walk(depth, budget)),
            FlexView::Map(map) => map.each(|key, value| {
                budget.copy(key.len())?;
                value.walk(depth, budget)
            }),
            _ => Ok(()),
        }
    }

    /// Where a value stands to which there is a distance here.
    fn target(self) -> Result<usize, FlexError> {
        let distance = self.unsigned(self.place, self.room)?;
        let distance = usize::try_from(distance).map_err(|_| OUTSIDE)?;
        self.place.checked_sub(distance).ok_or(OUTSIDE)
    }

    /// The bytes of as many elements of this width as the length before them says.
    fn sized(self, start: usize, element: usize) -> Result<&'a [u8], FlexError> {
        let len = self.len_before(start)?;
        let end = len.checked_mul(element).and_then(|bytes| start.checked_add(bytes)).ok_or(OUTSIDE)?;
        self.bytes.get(start..end).ok_or(OUTSIDE)
    }

    fn len_before(self, start: usize) -> Result<usize, FlexError> {
        let place = start.checked_sub(self.width.bytes()).ok_or(OUTSIDE)?;
        usize::try_from(self.unsigned(place, self.width)?).map_err(|_| OUTSIDE)
    }

    fn list(self, vector: u8) -> Result<FlexList<'a>, FlexError> {
        let start = self.target()?;
        let (of, len) = match vector {
            ty::VECTOR => (None, self.len_before(start)?),
            ty::VECTOR_INT..=ty::VECTOR_KEY => {
                (Some(vector - ty::VECTOR_INT + ty::INT), self.len_before(start)?)
            }
            ty::VECTOR_STRING => (Some(ty::KEY), self.len_before(start)?),
            ty::VECTOR_BOOL => (Some(ty::BOOL), self.len_before(start)?),
            ty::VECTOR_INT2..=ty::VECTOR_FLOAT4 => {
                let fixed = vector - ty::VECTOR_INT2;
                (Some(fixed % 3 + ty::INT), usize::from(fixed / 3 + 2))
            }
            _ => return Err(damaged("a Flex value of an unknown type")),
        };
        FlexList::new(self.bytes, start, len, self.width, of)
    }

    fn map(self) -> Result<FlexMapRef<'a>, FlexError> {
        let values = FlexList::new(self.bytes, self.target()?, 0, self.width, None)?;
        let before = |elements: usize| values.start.checked_sub(elements * self.width.bytes()).ok_or(OUTSIDE);
        let len = self.len_before(values.start)?;
        let width = Width::of_bytes(self.unsigned(before(2)?, self.width)?);
        let width = width.ok_or(damaged("the width of the keys of a Flex map"))?;
        let keys = FlexRef { place: before(3)?, room: self.width, ty: ty::VECTOR_KEY, width, ..self };
        let keys = keys.list(ty::VECTOR_KEY)?;
        if keys.len != len {
            return Err(damaged("a Flex map has not as many keys as values"));
        }
        Ok(FlexMapRef { keys, values: FlexList::new(self.bytes, values.start, len, self.width, None)? })
    }

    fn word(self, place: usize, width: Width) -> Result<[u8; 8], FlexError> {
        let bytes = place.checked_add(width.bytes()).and_then(|end| self.bytes.get(place..end));
        let bytes = bytes.ok_or(OUTSIDE)?;
        let mut word = [0; 8];
        word[..bytes.len()].copy_from_slice(bytes);
        Ok(word)
    }

    fn unsigned(self, place: usize, width: Width) -> Result<u64, FlexError> {
        self.word(place, width).map(u64::from_le_bytes)
    }

    fn signed(self, place: usize, width: Width) -> Result<i64, FlexError> {
        let unused = 64 - 8 * width.bytes();
        Ok(self.unsigned(place, width)?.cast_signed() << unused >> unused)
    }

    fn float(self, place: usize, width: Width) -> Result<f64, FlexError> {
        let word = self.word(place, width)?;
        match width {
            Width::FOUR => Ok(f32::from_le_bytes([word[0], word[1], word[2], word[3]]).into()),
            Width::EIGHT => Ok(f64::from_le_bytes(word)),
            _ => Err(damaged("a float in a Flex value has neither 4 nor 8 bytes")),
        }
    }
}

impl<'a> FlexList<'a> {
    /// A list whose elements, and their types if they have some, lie within the bytes.
    fn new(
        bytes: &'a [u8],
        start: usize,
        len: usize,
        width: Width,
        of: Option<u8>,
    ) -> Result<FlexList<'a>, FlexError> {
        let each = width.bytes() + usize::from(of.is_none());
        let end = len.checked_mul(each).and_then(|bytes| start.checked_add(bytes)).ok_or(OUTSIDE)?;
        if end > bytes.len() {
            return Err(OUTSIDE);
        }
        Ok(FlexList { bytes, start, len, width, of })
    }

    /// The number of values.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no values.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The value at this place, counted from 0.
    ///
    /// # Errors
    ///
    /// [`FlexError::Damaged`].
    pub fn get(&self, place: usize) -> Result<Option<FlexRef<'a>>, FlexError> {
        if place >= self.len {
            return Ok(None);
        }
        let FlexList { bytes, start, len, width, of } = *self;
        let at = start + place * width.bytes();
        let (ty, own) = match of {
            // Elements of one type have no packed types; keys have no length, so that their width says nothing.
            Some(ty) => (ty, Width::ONE),
            None => {
                let packed = *bytes.get(start + len * width.bytes() + place).ok_or(OUTSIDE)?;
                (packed >> 2, Width::of_packed(packed))
            }
        };
        Ok(Some(FlexRef { bytes, place: at, room: width, ty, width: own }))
    }

    /// The values in their order.
    pub fn iter(&self) -> FlexItems<'a> {
        FlexItems { list: *self, next: 0 }
    }
}

impl<'a> IntoIterator for FlexList<'a> {
    type Item = Result<FlexRef<'a>, FlexError>;
    type IntoIter = FlexItems<'a>;

    fn into_iter(self) -> FlexItems<'a> {
        self.iter()
    }
}

impl<'a> Iterator for FlexItems<'a> {
    type Item = Result<FlexRef<'a>, FlexError>;

    fn next(&mut self) -> Option<Self::Item> {
        let value = self.list.get(self.next).transpose()?;
        self.next += 1;
        Some(value)
    }
}

impl<'a> FlexMapRef<'a> {
    /// The number of entries.
    pub fn len(&self) -> usize {
        self.values.len
    }

    /// Whether there are no entries.
    pub fn is_empty(&self) -> bool {
        self.values.len == 0
    }

    /// The value of this name.
    ///
    /// # Errors
    ///
    /// [`FlexError::Damaged`].
    pub fn get(&self, key: &str) -> Result<Option<FlexRef<'a>>, FlexError> {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low.midpoint(high);
            match self.key(middle)?.cmp(key.as_bytes()) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
                std::cmp::Ordering::Equal => return self.values.get(middle),
            }
        }
        Ok(None)
    }

    /// The entry at this place in the order of names, counted from 0.
    ///
    /// # Errors
    ///
    /// [`FlexError::Damaged`].
    pub fn entry(&self, place: usize) -> Result<Option<(&'a str, FlexRef<'a>)>, FlexError> {
        let Some(value) = self.values.get(place)? else { return Ok(None) };
        Ok(Some((text(self.key(place)?)?, value)))
    }

    /// Calls with each entry, whose names must ascend.
    fn each(
        &self,
        mut with: impl FnMut(&'a str, FlexRef<'a>) -> Result<(), FlexError>,
    ) -> Result<(), FlexError> {
        let mut last = None;
        for place in 0..self.len() {
            let Some((key, value)) = self.entry(place)? else { break };
            if last.is_some_and(|last| last >= key) {
                return Err(damaged("the keys of a Flex map do not ascend"));
            }
            last = Some(key);
            with(key, value)?;
        }
        Ok(())
    }

    fn key(&self, place: usize) -> Result<&'a [u8], FlexError> {
        match self.keys.get(place)? {
            Some(key) => until_zero(key.bytes, key.target()?),
            None => Err(OUTSIDE),
        }
    }
}

/// What may still be decoded: every value of an honest encoder takes a byte at least, but several may stand at one place.
struct Budget {
    values: usize,
    bytes: usize,
}

impl Budget {
    fn of(bytes: &[u8]) -> Budget {
        Budget { values: bytes.len(), bytes: FLEX_SHARED_BYTES_MAX.max(bytes.len().saturating_mul(4)) }
    }

    fn take(&mut self) -> Result<(), FlexError> {
        self.values = self.values.checked_sub(1).ok_or(damaged("a Flex value has more values than bytes"))?;
        Ok(())
    }

    fn copy(&mut self, bytes: usize) -> Result<(), FlexError> {
        self.bytes =
            self.bytes.checked_sub(bytes).ok_or(damaged("a Flex value shares too many of its bytes"))?;
        Ok(())
    }
}

fn whole<'a>(number: u64) -> FlexView<'a> {
    i64::try_from(number).map_or(FlexView::UInt(number), FlexView::Int)
}

fn text(bytes: &[u8]) -> Result<&str, FlexError> {
    std::str::from_utf8(bytes).map_err(|_| damaged("text in a Flex value is not UTF-8"))
}

fn key_at(bytes: &[u8], start: usize) -> Result<&str, FlexError> {
    text(until_zero(bytes, start)?)
}

fn until_zero(bytes: &[u8], start: usize) -> Result<&[u8], FlexError> {
    let rest = bytes.get(start..).ok_or(OUTSIDE)?;
    let len = rest.iter().position(|&byte| byte == 0).ok_or(OUTSIDE)?;
    Ok(&rest[..len])
}
