//! The code that the derive writes.

use proc_macro2::{Ident, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{LitInt, LitStr};

use crate::attributes::{Conversion, DefaultValue};
use crate::entity::{EntityInput, FieldInput, Role, optional};

/// The implementation of `Entity` and the functions that return the properties.
pub(crate) fn expand(entity: &EntityInput<'_>) -> TokenStream {
    let implementation = implementation(entity);
    let handles = handles(entity);
    let support = support(entity);
    // Inside a block of its own, so that the short name for the library meets no name of the user.
    quote! {
        #[doc(hidden)]
        const _: () = {
            use #support as __support;
            #implementation
            #handles
        };
    }
}

fn support(entity: &EntityInput<'_>) -> TokenStream {
    match &entity.attributes.crate_path {
        Some(path) => quote!(#path::__private),
        None => quote!(::reconvene::__private),
    }
}

fn implementation(entity: &EntityInput<'_>) -> TokenStream {
    let ident = entity.ident;
    let name = &entity.name;
    let FieldInput { ident: id, ty: id_type, .. } = entity.id();
    let get_id = quote_spanned!(id_type.span()=> <#id_type as __support::IdField>::get(&self.#id));
    let set_id = quote_spanned!(id_type.span()=> self.#id = <#id_type as __support::IdField>::from_id(id););
    let description = description(entity);
    let checks = entity
        .stored()
        .flat_map(|field| [check_type(field), check_hash(field), check_date(field)].into_iter().flatten());
    let writes = entity.stored().enumerate().map(|(ordinal, field)| {
        let (ident, value) = (field.ident, value(field));
        quote_spanned!(field.ty.span()=> #value::write(&self.#ident, #ordinal, fields);)
    });
    let mut ordinals = 0..;
    let reads = entity.fields.iter().map(|field| {
        let (ident, ty) = (field.ident, field.ty);
        match field.role {
            Role::Id => quote_spanned!(ty.span()=> #ident: <#ty as __support::IdField>::from_id(id)),
            Role::Transient => quote_spanned!(ty.span()=> #ident: ::core::default::Default::default()),
            Role::Relation | Role::Backlink => {
                let name = &field.name;
                quote_spanned!(ty.span()=>
                    #ident: <#ty as __support::LinksField>::of(<Self as __support::Entity>::NAME, #name, id))
            }
            Role::Stored => {
                let ordinal = ordinals.next().map(syn::Index::from);
                let value = value(field);
                let read = quote_spanned!(ty.span()=> #value::read(#ordinal, fields)?);
                match default(field) {
                    None => quote!(#ident: #read),
                    Some(default) => {
                        quote!(#ident: if fields.is_null(#ordinal) { #default } else { #read })
                    }
                }
            }
        }
    });
    let links = links(entity);
    quote! {
        #(#checks)*

        #[automatically_derived]
        #[allow(unused_qualifications)]
        impl __support::Entity for #ident {
            const NAME: &'static str = #name;

            fn description() -> __support::EntityDescription {
                #description
            }

            fn id(&self) -> __support::ObjectId {
                #get_id
            }

            fn set_id(&mut self, id: __support::ObjectId) {
                #set_id
            }

            fn write(&self, fields: &mut __support::FieldWriter<'_, '_>) {
                let _ = &fields;
                #(#writes)*
            }

            fn read(
                id: __support::ObjectId,
                fields: &__support::FieldReader<'_>,
            ) -> ::core::result::Result<Self, __support::ReadError> {
                let _ = fields;
                ::core::result::Result::Ok(#ident { #(#reads),* })
            }

            #links
        }
    }
}

/// What visits the fields that link to other objects, if there can be any.
fn links(entity: &EntityInput<'_>) -> TokenStream {
    let fields = entity.fields.iter();
    let visits = fields.clone().filter_map(|field| {
        let (ident, ty, name) = (field.ident, field.ty, &field.name);
        match field.role {
            // What a field is converted into links to nothing.
            Role::Stored if conversion(field).is_none() => Some(quote_spanned!(ty.span()=>
                if let ::core::option::Option::Some(field) = <#ty as __support::PropertyValue>::as_link(&mut self.#ident) {
                    visit(#name, field)?;
                }
            )),
            role if role.is_links() => Some(quote_spanned!(ty.span()=> visit(#name, &mut self.#ident)?;)),
            _ => None,
        }
    });
    let has_links = match fields.clone().any(|field| field.role.is_links()) {
        true => quote!(true),
        false => {
            let stored = fields.filter(|field| field.role == Role::Stored && conversion(field).is_none());
            let stored = stored.map(|field| field.ty);
            quote!(false #(|| <#stored as __support::PropertyValue>::TARGET.is_some())*)
        }
    };
    quote! {
        const HAS_LINKS: bool = #has_links;

        fn link_fields(
            &mut self,
            visit: &mut dyn ::core::ops::FnMut(
                &'static str,
                &mut dyn __support::LinkField,
            ) -> __support::StoreResult<()>,
        ) -> __support::StoreResult<()> {
            let _ = &visit;
            #(#visits)*
            ::core::result::Result::Ok(())
        }
    }
}

fn description(entity: &EntityInput<'_>) -> TokenStream {
    let attributes = &entity.attributes;
    let was = option(attributes.was.as_ref().map(|was| quote!(::std::string::String::from(#was))));
    let uid = option(attributes.uid.as_ref().map(uid_value).map(|uid| quote!(__support::Uid(#uid))));
    let flags = flags(
        format_ident!("EntityFlags"),
        &[
            (attributes.sync.is_some(), "SYNC_ENABLED"),
            (attributes.shared_ids.is_some(), "SHARED_GLOBAL_IDS"),
        ],
    );
    let conflict = match attributes.conflict.as_ref().map(LitStr::value).as_deref() {
        Some("object") => quote!(__support::ConflictPolicy::Object),
        Some("precedence") => quote!(__support::ConflictPolicy::Precedence),
        Some("arrival") => quote!(__support::ConflictPolicy::Arrival),
        None if entity.marks(|attributes| attributes.sync_precedence) => {
            quote!(__support::ConflictPolicy::Precedence)
        }
        None if entity.marks(|attributes| attributes.sync_clock) => quote!(__support::ConflictPolicy::Object),
        _ => quote!(__support::ConflictPolicy::Property),
    };
    let properties = entity.fields.iter().filter(|field| matches!(field.role, Role::Id | Role::Stored));
    let properties = properties.map(|field| property(entity, field));
    let relations = entity.fields.iter().filter(|field| field.role == Role::Relation).map(|field| {
        let (name, ty, attributes) = (&field.name, field.ty, &field.attributes);
        let was = option(attributes.was.as_ref().map(|was| quote!(#was)));
        let uid = option(attributes.uid.as_ref().map(uid_value).map(|uid| quote!(#uid)));
        let owned = attributes.owned.is_some();
        quote_spanned!(ty.span()=> __support::relation::<#ty>(#name, #was, #uid, #owned))
    });
    let backlinks = entity.fields.iter().filter(|field| field.role == Role::Backlink).map(|field| {
        let (name, ty, to) = (&field.name, field.ty, &field.attributes.to);
        let owned = field.attributes.owned.is_some();
        quote_spanned!(ty.span()=> __support::backlink::<#ty>(#name, #to, #owned))
    });
    let name = &entity.name;
    quote! {
        __support::EntityDescription {
            name: ::std::string::String::from(#name),
            uid: #uid,
            was: #was,
            flags: #flags,
            conflict: #conflict,
            properties: ::std::vec![#(#properties),*],
            relations: ::std::vec![#(#relations),*],
            backlinks: ::std::vec![#(#backlinks),*],
        }
    }
}

fn property(entity: &EntityInput<'_>, field: &FieldInput<'_>) -> TokenStream {
    let attributes = &field.attributes;
    let (name, ty) = (&field.name, field.ty);
    let was = option(attributes.was.as_ref().map(|was| quote!(#was)));
    let uid = option(attributes.uid.as_ref().map(uid_value).map(|uid| quote!(#uid)));
    if field.role == Role::Id {
        let assignable = attributes.assignable.or(entity.attributes.self_assigned_ids).is_some();
        let monotonic = attributes.monotonic.is_some();
        let flags = flags(
            format_ident!("PropertyFlags"),
            &[(assignable, "ID_SELF_ASSIGNABLE"), (monotonic, "ID_MONOTONIC_SEQUENCE")],
        );
        return quote!(__support::id_property(#name, #was, #uid, #flags));
    }
    let index = &attributes.index_options;
    let flags = flags(
        format_ident!("PropertyFlags"),
        &[
            (attributes.index.is_some(), "INDEXED"),
            (index.hash.is_some(), "INDEX_HASH"),
            (index.hash64.is_some(), "INDEX_HASH64"),
            (index.skip_null.is_some(), "INDEX_PARTIAL_SKIP_NULL"),
            (index.skip_zero.is_some(), "INDEX_PARTIAL_SKIP_ZERO"),
            (attributes.unique.is_some(), "UNIQUE"),
            (attributes.replace.is_some(), "UNIQUE_ON_CONFLICT_REPLACE"),
            (attributes.id_companion.is_some(), "ID_COMPANION"),
            (attributes.expires.is_some(), "EXPIRATION_TIME"),
            (attributes.sync_clock.is_some(), "SYNC_CLOCK"),
            (attributes.sync_precedence.is_some(), "SYNC_PRECEDENCE"),
        ],
    );
    let given = option(attributes.ty.as_ref().map(property_type));
    let value = value(field);
    quote_spanned!(ty.span()=> #value::describe(#name, #was, #uid, #given, #flags))
}

/// What describes, writes and reads the field.
fn value(field: &FieldInput<'_>) -> TokenStream {
    let ty = field.ty;
    match conversion(field) {
        None => quote_spanned!(ty.span()=> <#ty as __support::PropertyValue>),
        Some(conversion) => quote_spanned!(ty.span()=> __support::Converted::<#ty, #conversion>),
    }
}

/// The type of property that the field has by itself.
fn stored_type(field: &FieldInput<'_>) -> TokenStream {
    let ty = field.ty;
    match conversion(field) {
        None => quote!(<#ty as __support::PropertyValue>::TYPE),
        Some(conversion) => {
            quote!(<<#conversion as __support::Conversion<#ty>>::Stored as __support::PropertyValue>::TYPE)
        }
    }
}

/// The type that converts the field.
fn conversion(field: &FieldInput<'_>) -> Option<TokenStream> {
    let conversion = match field.attributes.with.as_ref()? {
        Conversion::With(with) => quote_spanned!(with.span()=> #with),
        Conversion::Into(into) => quote_spanned!(into.span()=> __support::ByInto<#into>),
    };
    Some(match optional(field.ty) {
        Some(_) => quote!(__support::Optional<#conversion>),
        None => conversion,
    })
}

/// What a null is read as, where the struct says so.
fn default(field: &FieldInput<'_>) -> Option<TokenStream> {
    let ty = field.ty;
    Some(match field.attributes.default.as_ref()? {
        DefaultValue::OfType(span) => quote_spanned!(*span=> <#ty as ::core::default::Default>::default()),
        DefaultValue::Text(text) => {
            quote_spanned!(text.span()=> <#ty as ::core::convert::From<&str>>::from(#text))
        }
        DefaultValue::Value(value) => quote_spanned!(value.span()=> { let value: #ty = #value; value }),
    })
}

/// The check that a type given by attribute suits the field, for the compiler to make.
fn check_type(field: &FieldInput<'_>) -> Option<TokenStream> {
    let given = field.attributes.ty.as_ref()?;
    let (ty, wanted) = (stored_type(field), property_type(given));
    let message = match given.value().as_str() {
        name @ ("Date" | "DateNano") => format!("`{name}` needs a field of type i64 or {name}"),
        "Char" => "`Char` needs a field of type u16 or i16".to_owned(),
        name @ ("DateVector" | "DateNanoVector") => format!("`{name}` needs a field of type Vec<i64>"),
        "CharVector" => "`CharVector` needs a field of type Vec<u16> or Vec<i16>".to_owned(),
        "Flex" => "`Flex` needs a field of type Flex".to_owned(),
        name => {
            format!("a field of this type is not stored as `{name}`: remove `ty`, or change the field's type")
        }
    };
    Some(quote_spanned! {given.span()=>
        #[allow(unused_qualifications)]
        const _: () = ::core::assert!(
            __support::fits(#ty, #wanted),
            #message
        );
    })
}

/// The check that a date with a meaning of its own is a date.
fn check_date(field: &FieldInput<'_>) -> Option<TokenStream> {
    let attributes = &field.attributes;
    let span = attributes.expires.or(attributes.id_companion)?;
    if attributes.ty.is_some() {
        // What the attribute says is checked against the field already, and by the schema.
        return None;
    }
    let ty = stored_type(field);
    Some(quote_spanned! {span=>
        #[allow(unused_qualifications)]
        const _: () = ::core::assert!(
            __support::fits(#ty, __support::PropertyType::Date)
                && __support::fits(__support::PropertyType::Date, #ty)
                || __support::fits(#ty, __support::PropertyType::DateNano)
                    && __support::fits(__support::PropertyType::DateNano, #ty),
            "this is a date: change the field's type to `Date` or `DateNano`, or add `#[property(ty = \"Date\")]`"
        );
    })
}

/// The check that a hashed index is one of text.
fn check_hash(field: &FieldInput<'_>) -> Option<TokenStream> {
    let index = &field.attributes.index_options;
    let span = index.hash.or(index.hash64)?;
    let ty = stored_type(field);
    Some(quote_spanned! {span=>
        #[allow(unused_qualifications)]
        const _: () = ::core::assert!(
            __support::fits(#ty, __support::PropertyType::String),
            "only text is kept by hash, since other values are as short by themselves: remove it"
        );
    })
}

fn handles(entity: &EntityInput<'_>) -> TokenStream {
    let (ident, visibility) = (entity.ident, entity.visibility);
    let handles = entity.fields.iter().filter(|field| field.role != Role::Transient).map(|field| {
        let (name, ty) = (&field.name, field.ty);
        let doc = match field.role.is_links() {
            true => format!("The links `{name}`, for conditions, and to be followed and changed."),
            false => format!("The property `{name}`, for conditions and order."),
        };
        let handle = match &field.attributes.handle {
            Some(handle) => Ident::new(&handle.value(), handle.span()),
            None => field.ident.clone(),
        };
        if field.role.is_links() {
            return quote_spanned! {handle.span()=>
                #[doc = #doc]
                #[must_use]
                #[allow(dead_code)]
                #visibility const fn #handle() -> __support::Relation<#ident, <#ty as __support::LinksField>::Far> {
                    __support::Relation::new(#name)
                }
            };
        }
        let ty = match conversion(field) {
            Some(conversion) => {
                quote_spanned!(ty.span()=> <#conversion as __support::Conversion<#ty>>::Stored)
            }
            None => quote!(#ty),
        };
        quote_spanned! {handle.span()=>
            #[doc = #doc]
            #[must_use]
            #[allow(dead_code)]
            #visibility const fn #handle() -> __support::Property<#ident, #ty> {
                __support::Property::new(#name)
            }
        }
    });
    quote! {
        #[automatically_derived]
        #[allow(unused_qualifications)]
        impl #ident {
            #(#handles)*
        }
    }
}

fn property_type(given: &LitStr) -> TokenStream {
    let variant = Ident::new(&given.value(), given.span());
    quote!(__support::PropertyType::#variant)
}

fn flags(of: Ident, flags: &[(bool, &str)]) -> TokenStream {
    let set = flags.iter().filter(|(set, _)| *set).map(|(_, name)| format_ident!("{name}"));
    quote!(__support::#of::NONE #(.with(__support::#of::#set))*)
}

fn uid_value(uid: &LitInt) -> LitInt {
    // Without the suffix that the user may have written, so that it fits wherever a uid stands.
    LitInt::new(uid.base10_digits(), uid.span())
}

fn option(value: Option<TokenStream>) -> TokenStream {
    match value {
        Some(value) => quote!(::core::option::Option::Some(#value)),
        None => quote!(::core::option::Option::None),
    }
}
