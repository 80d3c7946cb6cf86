//! Paths: from an object to what is asked about.

use std::borrow::Cow;

use crate::ast::Quantifier;
use crate::span::Span;

/// What is asked about: a property, one of another object along links, or a place within a Flex value.
///
/// Paths are equal if they lead to the same place, wherever they stood in a text.
#[derive(Clone, Debug, PartialEq)]
pub struct Path {
    aspect: Aspect,
    steps: Vec<Step>,
}

/// What of the value at the end of a path is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Aspect {
    /// The value.
    Value,
    /// The elements of a vector, or of a list in a Flex value.
    Elements(Quantifier),
    /// How many elements there are, or objects at the end of a relation.
    Count,
}

/// One step of a path.
#[derive(Clone, Debug)]
pub struct Step {
    key: StepKey,
    span: Option<Span>,
}

/// Where a [`Step`] leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StepKey {
    /// To the property, link, relation or key of this name.
    Name(Cow<'static, str>),
    /// To the element of a list in a Flex value, from 0.
    Index(u32),
}

impl Path {
    /// The path to a property of the object itself.
    pub fn property(name: impl Into<Cow<'static, str>>) -> Self {
        Path { aspect: Aspect::Value, steps: vec![Step { key: StepKey::Name(name.into()), span: None }] }
    }

    /// The path along these steps; `None` if it does not begin with a name.
    pub fn new(aspect: Aspect, steps: impl IntoIterator<Item = StepKey>) -> Option<Self> {
        let steps = steps.into_iter().map(|key| Step { key, span: None }).collect();
        Path::of_steps(aspect, steps)
    }

    /// The path along steps that stand in a text.
    pub(crate) fn of_steps(aspect: Aspect, steps: Vec<Step>) -> Option<Self> {
        matches!(steps.first(), Some(Step { key: StepKey::Name(_), .. })).then_some(Path { aspect, steps })
    }

    /// The path that goes on from here to this name.
    #[must_use]
    pub fn then(mut self, name: impl Into<Cow<'static, str>>) -> Self {
        self.steps.push(Step { key: StepKey::Name(name.into()), span: None });
        self
    }

    /// The path that goes on from here as the other does, with what is asked at the end of that.
    #[must_use]
    pub fn join(mut self, other: Path) -> Self {
        self.steps.extend(other.steps);
        self.with_aspect(other.aspect)
    }

    /// The path that goes on from here to this element of a list, from 0.
    #[must_use]
    pub fn at(mut self, index: u32) -> Self {
        self.steps.push(Step { key: StepKey::Index(index), span: None });
        self
    }

    /// The path that goes on from here along these steps.
    pub(crate) fn with_steps(mut self, steps: &[StepKey]) -> Self {
        self.steps.extend(steps.iter().map(|key| Step { key: key.clone(), span: None }));
        self
    }

    /// The same path, of which something else is asked.
    #[must_use]
    pub fn with_aspect(mut self, aspect: Aspect) -> Self {
        self.aspect = aspect;
        self
    }

    /// What is asked of the value at its end.
    pub fn aspect(&self) -> Aspect {
        self.aspect
    }

    /// The steps; there is at least one, and the first is a name.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// The name of the first step.
    pub fn name(&self) -> &str {
        self.steps.first().and_then(Step::name).unwrap_or_default()
    }

    /// Where the path stands in the text it was read from; `None` if it was built.
    pub fn span(&self) -> Option<Span> {
        let (first, last) = (self.steps.first()?.span?, self.steps.last()?.span?);
        Some(Span { start: first.start, end: last.end })
    }
}

impl Step {
    pub(crate) fn read(key: StepKey, span: Span) -> Self {
        Step { key, span: Some(span) }
    }

    /// Where it leads.
    pub fn key(&self) -> &StepKey {
        &self.key
    }

    /// The name, if it is one.
    pub fn name(&self) -> Option<&str> {
        match &self.key {
            StepKey::Name(name) => Some(name),
            StepKey::Index(_) => None,
        }
    }

    /// Where the step stands in the text it was read from; `None` if it was built.
    pub fn span(&self) -> Option<Span> {
        self.span
    }
}

impl PartialEq for Step {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}
