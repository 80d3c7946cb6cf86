//! The canonical form of a value: the same bytes for equal values, and what the official builders make of them.

use std::collections::HashMap;

use super::packed::{Width, ty};
use super::value::{Flex, FlexMap, canonical_float};
use super::{FLEX_DEPTH_MAX, FlexError};

/// The canonical bytes of a value.
pub(super) fn encode(value: &Flex) -> Result<Vec<u8>, FlexError> {
    let mut writer = Writer { out: Vec::new(), keys: HashMap::new(), key_lists: HashMap::new() };
    let root = writer.write(value, FLEX_DEPTH_MAX)?;
    let width = root.width_at(writer.out.len(), 0);
    writer.align(width);
    writer.put(root, width);
    writer.out.extend([root.packed(Width::ONE), width.bytes() as u8]);
    Ok(writer.out)
}

struct Writer<'v> {
    out: Vec<u8>,
    /// Where each key stands; equal keys share their bytes.
    keys: HashMap<&'v str, usize>,
    /// The keys of each map; maps of equal keys share them.
    key_lists: HashMap<Vec<usize>, Keys>,
}

/// A list of keys that is written.
#[derive(Clone, Copy)]
struct Keys {
    place: usize,
    width: Width,
}

impl Keys {
    fn node(self) -> Node {
        Node::At { ty: ty::VECTOR_KEY, place: self.place, width: self.width }
    }
}

/// A value that is written, or is to be written where it is needed.
#[derive(Clone, Copy)]
enum Node {
    /// Stands in its list itself: a scalar, as its bits.
    Inline { ty: u8, bits: u64, width: Width },
    /// Stands at this place; its parts have this width.
    At { ty: u8, place: usize, width: Width },
}

impl Node {
    /// The width that the value needs as an element of a list which begins after `end` bytes.
    fn width_at(self, end: usize, element: usize) -> Width {
        match self {
            Node::Inline { width, .. } => width,
            Node::At { place, .. } => {
                let distance = |width: Width| {
                    let element = end.next_multiple_of(width.bytes()) + element * width.bytes();
                    Width::of_unsigned((element - place) as u64)
                };
                let fitting = Width::ALL.into_iter().find(|&width| distance(width) <= width);
                fitting.unwrap_or(Width::EIGHT)
            }
        }
    }

    /// The packed type of the value in a list of this width.
    fn packed(self, list: Width) -> u8 {
        match self {
            Node::Inline { ty, width, .. } => width.max(list).packed_with(ty),
            Node::At { ty, width, .. } => width.packed_with(ty),
        }
    }
}

impl<'v> Writer<'v> {
    fn write(&mut self, value: &'v Flex, depth: usize) -> Result<Node, FlexError> {
        let depth = depth.checked_sub(1).ok_or(FlexError::TooDeep)?;
        let inline = |ty, bits, width| Ok(Node::Inline { ty, bits, width });
        match value {
            Flex::Null => inline(ty::NULL, 0, Width::ONE),
            Flex::Bool(bit) => inline(ty::BOOL, (*bit).into(), Width::ONE),
            Flex::Int(number) => inline(ty::INT, number.cast_unsigned(), Width::of_signed(*number)),
            Flex::UInt(number) => match i64::try_from(*number) {
                Ok(number) => inline(ty::INT, number.cast_unsigned(), Width::of_signed(number)),
                Err(_) => inline(ty::UINT, *number, Width::EIGHT),
            },
            Flex::Float(number) => {
                let number = canonical_float(*number);
                let is_short = number.is_nan() || f64::from(number as f32).to_bits() == number.to_bits();
                inline(ty::FLOAT, number.to_bits(), if is_short { Width::FOUR } else { Width::EIGHT })
            }
            Flex::String(text) => Ok(self.sized(ty::STRING, text.as_bytes(), &[0])),
            Flex::Bytes(bytes) => Ok(self.sized(ty::BLOB, bytes, &[])),
            Flex::List(values) => {
                let values =
                    values.iter().map(|value| self.write(value, depth)).collect::<Result<Vec<_>, _>>()?;
                let (place, width) = self.list(&values, None, true);
                Ok(Node::At { ty: ty::VECTOR, place, width })
            }
            Flex::Map(map) => self.map(map, depth),
        }
    }

    fn map(&mut self, map: &'v FlexMap, depth: usize) -> Result<Node, FlexError> {
        let mut places = Vec::with_capacity(map.len());
        let mut values = Vec::with_capacity(map.len());
        for (key, value) in map {
            places.push(self.key(key)?);
            values.push(self.write(value, depth)?);
        }
        let keys = match self.key_lists.get(&places) {
            Some(&keys) => keys,
            None => {
                let key = |&place| Node::At { ty: ty::KEY, place, width: Width::ONE };
                let keys: Vec<Node> = places.iter().map(key).collect();
                let (place, width) = self.list(&keys, None, false);
                self.key_lists.insert(places, Keys { place, width });
                Keys { place, width }
            }
        };
        let (place, width) = self.list(&values, Some(keys), true);
        Ok(Node::At { ty: ty::MAP, place, width })
    }

    fn key(&mut self, key: &'v str) -> Result<usize, FlexError> {
        if let Some(&place) = self.keys.get(key) {
            return Ok(place);
        }
        if key.contains('\0') {
            return Err(FlexError::ZeroInKey);
        }
        let place = self.out.len();
        self.out.extend_from_slice(key.as_bytes());
        self.out.push(0);
        self.keys.insert(key, place);
        Ok(place)
    }

    /// A length, then bytes, then an end that does not count.
    fn sized(&mut self, ty: u8, bytes: &[u8], end: &[u8]) -> Node {
        let width = Width::of_unsigned(bytes.len() as u64);
        self.align(width);
        self.put_bits(bytes.len() as u64, width);
        let place = self.out.len();
        self.out.extend_from_slice(bytes);
        self.out.extend_from_slice(end);
        Node::At { ty, place, width }
    }

    /// Elements as wide as the widest needs, after their number, and after their keys if they have some; whether their types
    /// follow. Where they begin, and their width.
    fn list(&mut self, values: &[Node], keys: Option<Keys>, typed: bool) -> (usize, Width) {
        let end = self.out.len();
        let before = if keys.is_some() { 3 } else { 1 };
        let needed = values.iter().enumerate().map(|(at, value)| value.width_at(end, at + before));
        let of_keys = keys.map_or(Width::ONE, |keys| keys.node().width_at(end, 0));
        let width = needed.fold(Width::of_unsigned(values.len() as u64).max(of_keys), Width::max);
        self.align(width);
        if let Some(keys) = keys {
            self.put(keys.node(), width);
            self.put_bits(keys.width.bytes() as u64, width);
        }
        self.put_bits(values.len() as u64, width);
        let place = self.out.len();
        values.iter().for_each(|&value| self.put(value, width));
        if typed {
            self.out.extend(values.iter().map(|value| value.packed(width)));
        }
        (place, width)
    }

    fn align(&mut self, width: Width) {
        self.out.resize(self.out.len().next_multiple_of(width.bytes()), 0);
    }

    /// A scalar itself, or the distance back to where the value stands.
    fn put(&mut self, node: Node, width: Width) {
        match node {
            Node::Inline { ty: ty::FLOAT, bits, .. } if width == Width::FOUR => {
                self.put_bits(short_float(f64::from_bits(bits)).into(), width);
            }
            Node::Inline { bits, .. } => self.put_bits(bits, width),
            Node::At { place, .. } => self.put_bits((self.out.len() - place) as u64, width),
        }
    }

    fn put_bits(&mut self, bits: u64, width: Width) {
        self.out.extend_from_slice(&bits.to_le_bytes()[..width.bytes()]);
    }
}

/// The bits of the 32-bit float; casts of NaN are not the same everywhere.
fn short_float(number: f64) -> u32 {
    if number.is_nan() { 0x7fc0_0000 } else { (number as f32).to_bits() }
}
