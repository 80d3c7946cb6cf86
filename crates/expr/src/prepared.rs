//! Expressions with parameters, which are given values again and again without another check.

use reconvene_model::{EntityId, Value};

use crate::ast::CompareOp;
use crate::check_error::CheckError;
use crate::leaf::Ask;
use crate::nearest::nearest;
use crate::operand::{Argument, Literal, Operand};
use crate::predicate::{Node, Predicate};
use crate::site::{Question, Site};

/// An expression that was checked against an entity, and the values of its parameters; made by
/// [`prepare`](crate::prepare).
#[derive(Clone, Debug)]
pub struct Prepared {
    predicate: Predicate,
    holes: Holes,
}

impl Prepared {
    pub(crate) fn new(predicate: Predicate, holes: Holes) -> Self {
        Prepared { predicate, holes }
    }

    /// The names of the parameters, in the order in which they first stand in the expression.
    pub fn parameters(&self) -> impl Iterator<Item = &str> {
        self.holes.parameters.iter().map(|parameter| parameter.name.as_str())
    }

    /// Gives a parameter a value, everywhere it stands; a list, where it stands in `IN`.
    ///
    /// # Errors
    ///
    /// [`ParameterError::Unknown`], and [`ParameterError::Unfit`] if the value does not fit a property that it is compared
    /// with; the parameter keeps the value that it had.
    pub fn set(&mut self, name: &str, value: impl Into<Argument>) -> Result<(), ParameterError> {
        let asks = self.holes.set(name, value.into())?;
        fill(&mut self.predicate.root, asks);
        Ok(())
    }

    /// As [`Predicate::reaches`], whatever values are still missing.
    pub fn reaches(&self) -> Vec<EntityId> {
        self.predicate.reaches()
    }

    /// The predicate with all values in place.
    ///
    /// # Errors
    ///
    /// [`ParameterError::Missing`].
    pub fn predicate(&self) -> Result<&Predicate, ParameterError> {
        match self.holes.first_missing() {
            None => Ok(&self.predicate),
            Some(parameter) => Err(ParameterError::Missing {
                parameter: parameter.to_owned(),
                property: self.holes.property_of(parameter),
            }),
        }
    }
}

/// Why a parameter cannot have a value, or lacks one. A `property` is named with its entity, as in `Task.done`.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ParameterError {
    /// The expression has no such parameter.
    #[error("there is no parameter `${parameter}`; {}", known(.near.as_deref(), .parameters))]
    Unknown {
        /// The name that is not known.
        parameter: String,
        /// The name that was most likely meant.
        near: Option<String>,
        /// The parameters that there are.
        parameters: Vec<String>,
    },
    /// A parameter has neither a value nor a default.
    #[error(
        "the parameter `${parameter}`, compared with `{property}`, has no value; set one before the query runs"
    )]
    Missing {
        /// The parameter.
        parameter: String,
        /// The property that it is compared with.
        property: String,
    },
    /// The value does not fit a property that it is compared with.
    #[error("the parameter `${parameter}`: {source}")]
    Unfit {
        /// The parameter.
        parameter: String,
        /// What does not fit.
        source: CheckError,
    },
}

fn known(near: Option<&str>, parameters: &[String]) -> String {
    match (near, parameters) {
        (Some(near), _) => format!("did you mean `${near}`?"),
        (None, []) => "the expression has none".to_owned(),
        (None, parameters) => {
            let names: Vec<String> = parameters.iter().map(|name| format!("`${name}`")).collect();
            format!("there are {}", names.join(", "))
        }
    }
}

/// The questions with parameters, and the parameters.
#[derive(Clone, Debug, Default)]
pub(crate) struct Holes {
    holes: Vec<Hole>,
    parameters: Vec<Known>,
}

/// A question with parameters.
#[derive(Clone, Debug)]
pub(crate) struct Hole {
    site: Site<'static>,
    question: Question<Vec<Operand>>,
}

#[derive(Clone, Debug)]
struct Known {
    name: String,
    value: Option<Argument>,
    /// Whether a default stands wherever it does.
    has_default: bool,
}

impl Holes {
    /// Takes up a question: what it asks so far, and its number.
    pub(crate) fn push(&mut self, hole: Hole) -> Result<(Ask, Option<usize>), CheckError> {
        for parameter in hole.parameters() {
            let has_default = parameter.default.is_some();
            match self.parameters.iter_mut().find(|known| known.name == parameter.name) {
                Some(known) => known.has_default &= has_default,
                None => {
                    self.parameters.push(Known { name: parameter.name.clone(), value: None, has_default })
                }
            }
        }
        // Nobody asks it before all values are there.
        let placeholder = Ask::Compare { op: CompareOp::Eq, value: Value::Null };
        let ask = hole.ask(&self.parameters)?.unwrap_or(placeholder);
        self.holes.push(hole);
        Ok((ask, Some(self.holes.len() - 1)))
    }

    /// Gives a parameter a value: what the questions ask from now on, by number.
    fn set(&mut self, name: &str, value: Argument) -> Result<Vec<(usize, Ask)>, ParameterError> {
        let Some(at) = self.parameters.iter().position(|known| known.name == name) else {
            let names = self.parameters.iter().map(|known| known.name.as_str());
            return Err(ParameterError::Unknown {
                parameter: name.to_owned(),
                near: nearest(name, names.clone()).map(str::to_owned),
                parameters: names.map(str::to_owned).collect(),
            });
        };
        let before = self.parameters[at].value.replace(value);
        let mut asks = Vec::with_capacity(1);
        for (number, hole) in self.holes.iter().enumerate() {
            if !hole.parameters().any(|parameter| parameter.name == name) {
                continue;
            }
            match hole.ask(&self.parameters) {
                Ok(ask) => asks.extend(ask.map(|ask| (number, ask))),
                Err(source) => {
                    self.parameters[at].value = before;
                    return Err(ParameterError::Unfit { parameter: name.to_owned(), source });
                }
            }
        }
        Ok(asks)
    }

    /// The first parameter without a value.
    pub(crate) fn first_missing(&self) -> Option<&str> {
        let missing = |known: &&Known| known.value.is_none() && !known.has_default;
        self.parameters.iter().find(missing).map(|known| known.name.as_str())
    }

    /// The property that a parameter is compared with first.
    pub(crate) fn property_of(&self, parameter: &str) -> String {
        let has = |hole: &&Hole| hole.parameters().any(|other| other.name == parameter);
        self.holes.iter().find(has).map(|hole| hole.site.name()).unwrap_or_default()
    }

    /// The place of what a parameter is compared with first, in the text.
    pub(crate) fn span_of(&self, parameter: &str) -> Option<crate::span::Span> {
        let has = |hole: &&Hole| hole.parameters().any(|other| other.name == parameter);
        self.holes.iter().find(has).and_then(|hole| hole.site.span())
    }
}

impl Hole {
    pub(crate) fn new(site: Site<'static>, question: Question<&[Operand]>) -> Self {
        let question = match question {
            Question::Compare { op, value } => Question::Compare { op, value: value.to_vec() },
            Question::In { values, no_case } => Question::In { values: values.to_vec(), no_case },
            Question::Between { low, high } => Question::Between { low: low.to_vec(), high: high.to_vec() },
        };
        Hole { site, question }
    }

    fn parameters(&self) -> impl Iterator<Item = &crate::operand::Parameter> {
        let (some, more): (&[Operand], &[Operand]) = match &self.question {
            Question::Compare { value, .. } => (value, &[]),
            Question::In { values, .. } => (values, &[]),
            Question::Between { low, high } => (low, high),
        };
        some.iter().chain(more).filter_map(|operand| match operand {
            Operand::Parameter(parameter) => Some(parameter),
            Operand::Literal(_) => None,
        })
    }

    /// The question with all values; `None` if one is missing.
    fn ask(&self, parameters: &[Known]) -> Result<Option<Ask>, CheckError> {
        let site = &self.site;
        let argument = |operand: &'_ Operand| -> Option<Argument> {
            match operand {
                Operand::Literal(literal) => Some(Argument::One(literal.clone())),
                Operand::Parameter(parameter) => {
                    let known = parameters.iter().find(|known| known.name == parameter.name);
                    let value = known.and_then(|known| known.value.clone());
                    value.or_else(|| parameter.default.clone().map(Argument::One))
                }
            }
        };
        let one = |operands: &[Operand], op: &'static str| -> Result<Option<Literal>, CheckError> {
            match operands.first().and_then(argument) {
                Some(Argument::One(literal)) => Ok(Some(literal)),
                Some(Argument::List(_)) => Err(site.list_error(op)),
                None => Ok(None),
            }
        };
        match &self.question {
            Question::Compare { op, value } => {
                site.check_operator(&Question::Compare { op: *op, value: () })?;
                one(value, op.symbol())?.map(|literal| site.compare(*op, &literal)).transpose()
            }
            Question::In { values, no_case } => {
                site.check_operator(&Question::In { values: (), no_case: *no_case })?;
                let mut literals = Vec::new();
                for operand in values {
                    match argument(operand) {
                        Some(Argument::One(literal)) => literals.push(literal),
                        Some(Argument::List(list)) => literals.extend(list),
                        None => return Ok(None),
                    }
                }
                site.one_of(literals.iter(), *no_case).map(Some)
            }
            Question::Between { low, high } => {
                site.check_operator(&Question::Between { low: (), high: () })?;
                match (one(low, "BETWEEN")?, one(high, "BETWEEN")?) {
                    (Some(low), Some(high)) => site.between(&low, &high).map(Some),
                    _ => Ok(None),
                }
            }
        }
    }
}

/// Puts questions where their numbers stand.
fn fill(node: &mut Node, mut asks: Vec<(usize, Ask)>) {
    fn put(node: &mut Node, asks: &mut Vec<(usize, Ask)>) {
        let mut take = |hole: Option<usize>, ask: &mut Ask| {
            let at = asks.iter().position(|(number, _)| Some(*number) == hole);
            if let Some(at) = at {
                *ask = asks.swap_remove(at).1;
            }
        };
        match node {
            Node::Leaf(leaf) => take(leaf.hole, &mut leaf.ask),
            Node::Flex(leaf) => take(leaf.hole, &mut leaf.ask),
            Node::Count(count) => take(count.hole, &mut count.ask),
            Node::All(nodes) | Node::Any(nodes) => nodes.iter_mut().for_each(|node| put(node, asks)),
            Node::One(one) => put(&mut one.inner, asks),
            Node::Many(many) => put(&mut many.inner, asks),
        }
    }
    put(node, &mut asks);
}
