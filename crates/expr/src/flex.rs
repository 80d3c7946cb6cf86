//! Tests of what is within a Flex value: of any kind, and perhaps not there.

use reconvene_model::PropertyType;
use reconvene_model::flex::{FlexError, FlexRef, FlexView};
use reconvene_model::record::{RecordError, Table};

use crate::leaf::{Ask, Kind, Of};
use crate::order::Scalar;
use crate::path::{Step, StepKey};

/// A test of a place within a Flex value.
#[derive(Clone, Debug)]
pub(crate) struct FlexLeaf {
    pub(crate) slot: usize,
    /// The way there, from the whole value on.
    pub(crate) steps: Vec<StepKey>,
    pub(crate) of: Of,
    /// Whether the opposite is asked.
    pub(crate) negated: bool,
    pub(crate) ask: Ask,
    /// The place in the list of questions with parameters, if it is one.
    pub(crate) hole: Option<usize>,
}

impl FlexLeaf {
    pub(crate) fn steps_of(steps: &[Step]) -> Vec<StepKey> {
        steps.iter().map(|step| step.key().clone()).collect()
    }

    pub(crate) fn matches(&self, table: &Table<'_>) -> Result<bool, RecordError> {
        let Some(bytes) = table.bytes(self.slot, PropertyType::Flex)? else {
            return Ok(self.matches_nothing());
        };
        self.matches_bytes(bytes).map_err(|error| RecordError::Slot {
            slot: self.slot,
            ty: PropertyType::Flex,
            what: error.what(),
        })
    }

    /// What the test says where there is no value.
    pub(crate) fn matches_nothing(&self) -> bool {
        let holds = match self.of {
            Of::Value => self.ask.holds(Kind::FLEX, None),
            Of::AnyElement { .. } => false,
            Of::Count => self.ask.holds(Kind::COUNT, Some(Scalar::UInt(0))),
        };
        holds != self.negated
    }

    fn matches_bytes(&self, bytes: &[u8]) -> Result<bool, FlexError> {
        let Some(place) = self.find(FlexRef::root(bytes)?)? else { return Ok(self.matches_nothing()) };
        let holds = match self.of {
            Of::Value => self.holds(place)?,
            Of::AnyElement { fails } => {
                let FlexView::List(list) = place.view()? else { return Ok(self.matches_nothing()) };
                let mut any = false;
                for element in list.iter() {
                    any = self.holds(element?)? != fails;
                    if any {
                        break;
                    }
                }
                any
            }
            Of::Count => {
                let count = match place.view()? {
                    FlexView::List(list) => list.len(),
                    FlexView::Map(map) => map.len(),
                    _ => 0,
                };
                self.ask.holds(Kind::COUNT, Some(Scalar::UInt(count as u64)))
            }
        };
        Ok(holds != self.negated)
    }

    /// The place at the end of the steps, if there is one.
    fn find<'b>(&self, root: FlexRef<'b>) -> Result<Option<FlexRef<'b>>, FlexError> {
        let mut place = root;
        for step in &self.steps {
            let next = match step {
                StepKey::Name(name) => place.get(name)?,
                StepKey::Index(index) => place.at(*index as usize)?,
            };
            let Some(next) = next else { return Ok(None) };
            place = next;
        }
        Ok(Some(place))
    }

    fn holds(&self, place: FlexRef<'_>) -> Result<bool, FlexError> {
        let scalar = match place.view()? {
            FlexView::Null => None,
            FlexView::Bool(bit) => Some(Scalar::Bool(bit)),
            FlexView::Int(number) => Some(Scalar::Int(number)),
            FlexView::UInt(number) => Some(Scalar::UInt(number)),
            FlexView::Float(number) => Some(Scalar::Double(number)),
            FlexView::String(text) => Some(Scalar::Text(text)),
            FlexView::Bytes(_) | FlexView::List(_) | FlexView::Map(_) => Some(Scalar::Other),
        };
        Ok(self.ask.holds(Kind::FLEX, scalar))
    }
}
