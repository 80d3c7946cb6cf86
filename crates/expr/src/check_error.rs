//! Why an expression does not fit an entity.

use reconvene_model::PropertyType;

use crate::check::{DEPTH_MAX, LINKS_MAX};
use crate::span::Span;

/// How many names a message lists.
const LISTED_MAX: usize = 12;

/// Why an expression does not fit an entity.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{kind}")]
pub struct CheckError {
    /// What is wrong; boxed so that results stay small where nothing is.
    pub kind: Box<CheckErrorKind>,
    /// Which path or step it concerns, in the text that the expression was read from; `None` if it was built.
    pub span: Option<Span>,
}

impl CheckError {
    pub(crate) fn new(kind: CheckErrorKind, span: Option<Span>) -> Self {
        CheckError { kind: Box::new(kind), span }
    }

    /// The message, and below it the line of `text` with carets under the place; the message alone if the expression was
    /// not read from a text.
    pub fn render(&self, text: &str) -> String {
        let Some(span) = self.span else { return self.to_string() };
        let (line, column) = span.position(text);
        format!("line {line}, column {column}: {self}\n{}", span.carets(text))
    }
}

/// The kinds of [`CheckError`]. A `property` is named with its entity, as in `Task.done`.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CheckErrorKind {
    /// The entity has no such property.
    #[error("`{entity}` has no property `{property}`; {}", known(.near.as_deref(), .properties))]
    UnknownProperty {
        /// The entity.
        entity: String,
        /// The name that is not known.
        property: String,
        /// The name that was most likely meant.
        near: Option<String>,
        /// The properties and relations that the entity has.
        properties: Vec<String>,
    },
    /// The operator does not suit the property's type.
    #[error("`{property}` is of type {ty}, which `{op}` cannot compare; {}", operators(*.ty))]
    Operator {
        /// The property.
        property: String,
        /// What it holds.
        ty: PropertyType,
        /// The operator as it is written.
        op: &'static str,
    },
    /// Null was compared by an operator other than `==`, `!=` and `IN`.
    #[error("`{op}` cannot compare `{property}` with null; test for null with `== null` or `!= null`")]
    Null {
        /// The property.
        property: String,
        /// The operator as it is written.
        op: &'static str,
    },
    /// The value is of another kind than the property.
    #[error("`{property}` is of type {ty} and cannot be compared with {got}; compare it with {}", wanted(*.ty))]
    Kind {
        /// The property.
        property: String,
        /// What it holds.
        ty: PropertyType,
        /// What was given.
        got: &'static str,
    },
    /// An operator on text with something else.
    #[error(
        "`{op}` compares `{property}` with text, not with {got}; put it in quotes, or use another operator"
    )]
    NotText {
        /// The place in a Flex property.
        property: String,
        /// The operator as it is written.
        op: &'static str,
        /// What was given.
        got: &'static str,
    },
    /// The number lies outside what the property can hold.
    #[error("`{property}` cannot be {value}: it holds numbers from {lowest} to {highest}")]
    Range {
        /// The property.
        property: String,
        /// The number that was given.
        value: String,
        /// The smallest number that it holds.
        lowest: String,
        /// The largest number that it holds.
        highest: String,
    },
    /// ANY, NONE, ALL or COUNT before something that has no elements.
    #[error(
        "`{property}` is of type {ty} and has no elements that `{word}` could ask for; compare its value"
    )]
    NoElements {
        /// The property.
        property: String,
        /// What it holds.
        ty: PropertyType,
        /// The word.
        word: &'static str,
    },
    /// A path goes on behind something that leads nowhere.
    #[error("`{property}` is of type {ty}, and nothing is behind it; end the path there")]
    NoWay {
        /// The property.
        property: String,
        /// What it holds.
        ty: PropertyType,
    },
    /// Many objects are at the end of a relation, and were compared as if they were one.
    #[error(
        "`{relation}` leads to many objects; ask `ANY {relation} (...)`, `NONE {relation} (...)` or `COUNT {relation} > 0`"
    )]
    Many {
        /// The relation.
        relation: String,
    },
    /// A path to objects that link here, by a property of theirs that does not.
    #[error("`{property}` does not link to `{entity}`; name a link or a relation of `{other}` that does")]
    NoWayBack {
        /// The property of the other entity.
        property: String,
        /// The other entity.
        other: String,
        /// The entity that is asked about.
        entity: String,
    },
    /// A condition in parentheses on what is no link and no relation.
    #[error(
        "`{property}` is of type {ty} and leads to no objects; write `{word} {property} == ...`, or name a link or a relation"
    )]
    NoLink {
        /// The property.
        property: String,
        /// What it holds.
        ty: PropertyType,
        /// The word.
        word: &'static str,
    },
    /// A link to an entity that the schema lacks, or that could not be looked up.
    #[error("`{property}` links to `{target}`, which is not known here; compare the link itself with an id")]
    UnknownTarget {
        /// The link.
        property: String,
        /// The entity that it links to.
        target: String,
    },
    /// A parameter where none can get a value.
    #[error(
        "the parameter `${parameter}` has no value here; write the value itself, or a default as in `${{{parameter} ?? 1}}`"
    )]
    Parameter {
        /// The parameter.
        parameter: String,
    },
    /// A list where one value is needed.
    #[error("`{op}` compares `{property}` with one value, not with a list; for lists write `IN`")]
    List {
        /// The property.
        property: String,
        /// The operator as it is written.
        op: &'static str,
    },
    /// The path follows more than [`LINKS_MAX`] links.
    #[error("the path follows more than {LINKS_MAX} links; split it by `ANY ... (...)`")]
    TooFar,
    /// The expression nests deeper than [`DEPTH_MAX`].
    #[error(
        "the expression nests AND, OR, NOT and links more than {DEPTH_MAX} deep; write it flatter, or as several queries"
    )]
    TooDeep,
}

fn known(near: Option<&str>, properties: &[String]) -> String {
    if let Some(near) = near {
        return format!("did you mean `{near}`?");
    }
    let names: Vec<String> = properties.iter().take(LISTED_MAX).map(|name| format!("`{name}`")).collect();
    let more = if properties.len() > LISTED_MAX { " and others" } else { "" };
    format!("it has {}{more}", names.join(", "))
}

fn operators(ty: PropertyType) -> &'static str {
    use PropertyType as T;
    match ty {
        T::Bool | T::Relation => "use `==`, `!=` or `IN`",
        T::String => "use an operator for text",
        ty if is_comparable(ty) => "use `==`, `!=`, `<`, `<=`, `>`, `>=`, `BETWEEN` or `IN`",
        _ => "test it with `== null` or `!= null`, or its elements with ANY, NONE, ALL or COUNT",
    }
}

fn wanted(ty: PropertyType) -> &'static str {
    use PropertyType as T;
    match ty {
        T::Bool => "true or false",
        T::Char => "a whole number or one character in quotes",
        T::Date => "a whole number: milliseconds since 1970, UTC",
        T::DateNano => "a whole number: nanoseconds since 1970, UTC",
        T::Relation => "the id of the object linked to, or null",
        T::Float | T::Double => "a number",
        T::String => "text in quotes",
        ty if ty.is_integer() => "a whole number",
        _ => "null",
    }
}

/// Whether values of this type are compared with one value.
pub(crate) fn is_comparable(ty: PropertyType) -> bool {
    ty.scalar_bytes().is_some() || ty == PropertyType::String
}
