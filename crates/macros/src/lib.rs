//! The derive macro that turns a struct into an entity; its attributes are described at `Entity` of the library.
//!
//! `entity` reads the struct, checked as far as syntax goes; `expand` writes the code; `value` does both for the types of fields. What only the
//! compiler knows (whether a field's type can be a property) is left to trait bounds whose spans are those of the field.

mod attributes;
mod entity;
mod expand;
mod suggest;
mod value;

use proc_macro::TokenStream;

/// Implements `Entity` for a struct with named fields and adds a function per field for building conditions.
///
/// The attributes stand in a table at the trait.
#[proc_macro_derive(
    Entity,
    attributes(
        entity,
        id,
        index,
        unique,
        property,
        transient,
        sync_clock,
        sync_precedence,
        id_companion,
        expires,
        relation,
        backlink
    )
)]
pub fn derive_entity(input: TokenStream) -> TokenStream {
    let input = syn::parse_macro_input!(input as syn::DeriveInput);
    match entity::EntityInput::from_derive(&input) {
        Ok(entity) => expand::expand(&entity).into(),
        Err(error) => error.into_compile_error().into(),
    }
}

/// Implements `PropertyValue` for an enum whose variants have numbers, or for a struct around one value.
///
/// The trait tells what is stored.
#[proc_macro_derive(PropertyValue, attributes(property))]
pub fn derive_property_value(input: TokenStream) -> TokenStream {
    let input = syn::parse_macro_input!(input as syn::DeriveInput);
    value::expand(&input).unwrap_or_else(syn::Error::into_compile_error).into()
}
