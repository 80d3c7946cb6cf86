//! Flex values: trees of maps, lists and scalars without a schema, stored as FlexBuffers.
//!
//! [`Flex`] is such a tree in memory. [`Flex::encode`] writes it in one canonical form, so that equal trees have equal bytes;
//! [`FlexRef`] reads any well-formed FlexBuffers in place, each access checked, and finds one value without decoding the others.
//! `docs/record.md` has the layout.

mod nodes;
mod packed;
mod value;
mod writer;

pub use nodes::{FlexItems, FlexList, FlexMapRef, FlexRef, FlexView};
pub use value::{Flex, FlexMap};

/// How deep lists and maps may be nested; a value that is neither has the depth 1.
pub const FLEX_DEPTH_MAX: usize = 64;

/// Up to here the text and bytes of a tree are decoded whatever they were encoded in; beyond, they must not be more than four
/// times as long as that. Encoders let equal keys share their bytes, and malicious ones all kinds of values.
pub const FLEX_SHARED_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Why a value cannot be written as FlexBuffers, or bytes cannot be read as such.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FlexError {
    /// The bytes are no FlexBuffers value.
    #[error("the Flex value is damaged: {what}")]
    Damaged {
        /// What is wrong.
        what: &'static str,
    },
    /// Lists and maps are nested too deeply.
    #[error(
        "the Flex value is nested deeper than {FLEX_DEPTH_MAX} levels; keep its parts in objects of their own"
    )]
    TooDeep,
    /// A key of a map has a zero byte, which would end it.
    #[error(
        "a key of a map in the Flex value contains the character U+0000, which keys cannot; leave it out"
    )]
    ZeroInKey,
}

impl FlexError {
    /// What is wrong, in words that stand alone.
    pub fn what(self) -> &'static str {
        match self {
            FlexError::Damaged { what } => what,
            FlexError::TooDeep => "a Flex value is nested too deeply",
            FlexError::ZeroInKey => "a key of a map in a Flex value contains a zero",
        }
    }
}

/// Checks that all of `bytes` is a well-formed value: what decodes, and decodes within the limits.
///
/// # Errors
///
/// [`FlexError`] if it is not.
pub fn check_flex(bytes: &[u8]) -> Result<(), FlexError> {
    FlexRef::root(bytes)?.check()
}
