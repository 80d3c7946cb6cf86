//! Types of fields: enums by number, and structs around one value.

use proc_macro2::{Ident, TokenStream};
use quote::{format_ident, quote};
use syn::spanned::Spanned;
use syn::{Attribute, Data, DataEnum, DeriveInput, Error, Expr, Fields, LitStr, Path, Result, Type, Variant};

/// The types that the numbers of an enum may have.
const NUMBERS: &[&str] = &["i8", "i16", "i32", "i64", "u8", "u16", "u32", "u64"];

/// The implementations of `PropertyValue` and of what lets conditions compare.
pub(crate) fn expand(input: &DeriveInput) -> Result<TokenStream> {
    if let Some(first) = input.generics.params.first() {
        return Err(Error::new(
            first.span(),
            "a type of property has no generic parameters: write a type for each case",
        ));
    }
    let support = support(&input.attrs)?;
    let implementations = match &input.data {
        Data::Enum(data) => of_enum(input, data)?,
        Data::Struct(data) => match &data.fields {
            Fields::Unnamed(fields) if fields.unnamed.len() == 1 => {
                of_struct(&input.ident, &fields.unnamed[0].ty)
            }
            _ => {
                return Err(Error::new(
                    input.ident.span(),
                    "a struct is stored as the one value that it holds: write `struct Name(Value);`, or keep several values in \
                     an entity of their own",
                ));
            }
        },
        Data::Union(data) => {
            return Err(Error::new(data.union_token.span(), "a union cannot be stored: write an enum"));
        }
    };
    Ok(quote! {
        #[doc(hidden)]
        const _: () = {
            use #support as __support;
            #implementations
        };
    })
}

fn support(attributes: &[Attribute]) -> Result<TokenStream> {
    let mut path = None;
    for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("property")) {
        attribute.parse_nested_meta(|meta| {
            if !meta.path.is_ident("crate") {
                return Err(meta.error("the only option of `#[property]` here is `crate`"));
            }
            path = Some(meta.value()?.parse::<LitStr>()?.parse_with(Path::parse_mod_style)?);
            Ok(())
        })?;
    }
    Ok(match path {
        Some(path) => quote!(#path::__private),
        None => quote!(::reconvene::__private),
    })
}

fn of_struct(ident: &Ident, of: &Type) -> TokenStream {
    // What is only asked for by `for<'any>` need not hold; the implementation is then one that nothing can use.
    quote! {
        #[automatically_derived]
        impl __support::PropertyValue for #ident {
            const TYPE: __support::PropertyType = <#of as __support::PropertyValue>::TYPE;
            const FLAGS: __support::PropertyFlags = <#of as __support::PropertyValue>::FLAGS;
            const TARGET: ::core::option::Option<&'static str> = <#of as __support::PropertyValue>::TARGET;
            const MERGE: __support::MergeKind = <#of as __support::PropertyValue>::MERGE;

            fn write(&self, ordinal: usize, out: &mut __support::FieldWriter<'_, '_>) {
                <#of as __support::PropertyValue>::write(&self.0, ordinal, out);
            }

            fn read(
                ordinal: usize,
                fields: &__support::FieldReader<'_>,
            ) -> ::core::result::Result<Self, __support::ReadError> {
                <#of as __support::PropertyValue>::read(ordinal, fields).map(Self)
            }

            fn of_scalar(bytes: &[u8]) -> ::core::option::Option<Self> {
                <#of as __support::PropertyValue>::of_scalar(bytes).map(Self)
            }
        }

        #[automatically_derived]
        impl __support::NeverNull for #ident where for<'any> #of: __support::NeverNull {}

        #[automatically_derived]
        impl __support::Comparable for #ident where for<'any> #of: __support::Comparable {
            type Plain = Self;
        }

        #[automatically_derived]
        impl __support::Ordered for #ident where for<'any> #of: __support::Ordered {}

        #[automatically_derived]
        impl __support::Operand<#ident> for #ident where for<'any> #of: __support::Operand<#of> {
            fn into_operand(self) -> __support::ExprOperand {
                <#of as __support::Operand<#of>>::into_operand(self.0)
            }
        }
    }
}

fn of_enum(input: &DeriveInput, data: &DataEnum) -> Result<TokenStream> {
    let ident = &input.ident;
    let number = number_type(&input.attrs)?;
    let mut other = None;
    let mut variants = Vec::new();
    for variant in &data.variants {
        if is_other(variant)? {
            let taken = other.replace(variant).is_some();
            let fields = match &variant.fields {
                Fields::Unnamed(fields) => fields.unnamed.len(),
                _ => 0,
            };
            if taken || fields != 1 {
                return Err(Error::new(
                    variant.span(),
                    format!(
                        "one variant takes all other numbers: write it once, as `{}({number})`",
                        variant.ident
                    ),
                ));
            }
        } else {
            variants.push((&variant.ident, number_of(variant, &number)?));
        }
    }
    let constants: Vec<Ident> = (0..variants.len()).map(|at| format_ident!("NUMBER_{at}")).collect();
    let (names, numbers): (Vec<&Ident>, Vec<&Expr>) = variants.iter().copied().unzip();
    let write_other = other.map(|Variant { ident, .. }| quote!(Self::#ident(number) => *number,));
    let name = ident.to_string();
    let read_other = match other {
        Some(Variant { ident, .. }) => quote!(number => ::core::result::Result::Ok(Self::#ident(number))),
        None => quote! {
            number => ::core::result::Result::Err(__support::unknown_number(ordinal, number.into(), #name))
        },
    };
    Ok(quote! {
        #[automatically_derived]
        impl #ident {
            #[doc(hidden)]
            fn __number(&self) -> #number {
                #(const #constants: #number = #numbers;)*
                match self {
                    #(Self::#names => #constants,)*
                    #write_other
                }
            }
        }

        #[automatically_derived]
        impl __support::PropertyValue for #ident {
            const TYPE: __support::PropertyType = <#number as __support::PropertyValue>::TYPE;
            const FLAGS: __support::PropertyFlags = <#number as __support::PropertyValue>::FLAGS;

            fn write(&self, ordinal: usize, out: &mut __support::FieldWriter<'_, '_>) {
                <#number as __support::PropertyValue>::write(&self.__number(), ordinal, out);
            }

            fn read(
                ordinal: usize,
                fields: &__support::FieldReader<'_>,
            ) -> ::core::result::Result<Self, __support::ReadError> {
                #(const #constants: #number = #numbers;)*
                match <#number as __support::PropertyValue>::read(ordinal, fields)? {
                    #(#constants => ::core::result::Result::Ok(Self::#names),)*
                    #read_other,
                }
            }
        }

        #[automatically_derived]
        impl __support::NeverNull for #ident {}

        #[automatically_derived]
        impl __support::Comparable for #ident {
            type Plain = Self;
        }

        #[automatically_derived]
        impl __support::Ordered for #ident {}

        #[automatically_derived]
        impl __support::Operand<#ident> for #ident {
            fn into_operand(self) -> __support::ExprOperand {
                <#number as __support::Operand<#number>>::into_operand(self.__number())
            }
        }
    })
}

/// The type in `#[repr(...)]`; without one, `i32`.
fn number_type(attributes: &[Attribute]) -> Result<Ident> {
    let mut found = None;
    for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("repr")) {
        attribute.parse_nested_meta(|meta| {
            let Some(ident) = meta.path.get_ident() else { return Ok(()) };
            if NUMBERS.iter().any(|number| ident == number) {
                found = Some(ident.clone());
                return Ok(());
            }
            Err(meta.error(
                "the numbers of a stored enum are `i8` to `i64` or `u8` to `u64`: name one of these here",
            ))
        })?;
    }
    Ok(found.unwrap_or_else(|| format_ident!("i32")))
}

fn is_other(variant: &Variant) -> Result<bool> {
    let mut other = false;
    for attribute in variant.attrs.iter().filter(|attribute| attribute.path().is_ident("property")) {
        attribute.parse_nested_meta(|meta| {
            other = meta.path.is_ident("other");
            if other { Ok(()) } else { Err(meta.error("the only option of `#[property]` here is `other`")) }
        })?;
    }
    Ok(other)
}

fn number_of<'v>(variant: &'v Variant, number: &Ident) -> Result<&'v Expr> {
    if !matches!(variant.fields, Fields::Unit) {
        return Err(Error::new(
            variant.span(),
            format!(
                "a variant is stored as its number, without fields: remove them, or mark one `{}({number})` with \
                 `#[property(other)]`, which takes all other numbers",
                variant.ident
            ),
        ));
    }
    variant.discriminant.as_ref().map(|(_, number)| number).ok_or_else(|| {
        Error::new(
            variant.span(),
            format!(
                "this variant needs a number: write `{} = 1`, say; numbers are stored, so they must not change when variants \
                 come or go",
                variant.ident
            ),
        )
    })
}
