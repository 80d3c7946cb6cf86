//! The derive macro that turns a struct into an entity; its attributes are described at `Entity` of the library.
//!
//! `entity` reads the struct, checked as far as syntax goes; `expand` writes the code. What only the
//! compiler knows (whether a field's type can be a property) is left to trait bounds whose spans are those of the field.

mod attributes;
mod entity;
mod expand;
mod suggest;

use proc_macro::TokenStream;

/// Implements `Entity` for a struct with named fields and adds a function per field for building conditions.
///
/// The attributes stand in a table at the trait.
#[proc_macro_derive(
    Entity,
    attributes(entity, id, index, unique, property, transient, sync_clock, sync_precedence)
)]
pub fn derive_entity(input: TokenStream) -> TokenStream {
    let input = syn::parse_macro_input!(input as syn::DeriveInput);
    match entity::EntityInput::from_derive(&input) {
        Ok(entity) => expand::expand(&entity).into(),
        Err(error) => error.into_compile_error().into(),
    }
}
