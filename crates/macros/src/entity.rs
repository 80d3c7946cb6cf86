//! The struct as the derive understands it, checked as far as syntax goes.

use proc_macro2::{Ident, Span};
use syn::ext::IdentExt;
use syn::spanned::Spanned;
use syn::{
    Data, DeriveInput, Error, Field, Fields, GenericArgument, PathArguments, Result, Type, Visibility,
};

use crate::attributes::{EntityAttributes, FieldAttributes, check_name};

/// A struct that can be an entity.
pub(crate) struct EntityInput<'a> {
    pub(crate) ident: &'a Ident,
    pub(crate) visibility: &'a Visibility,
    pub(crate) name: String,
    pub(crate) attributes: EntityAttributes,
    /// The fields in order of the struct.
    pub(crate) fields: Vec<FieldInput<'a>>,
}

/// One field of the struct.
pub(crate) struct FieldInput<'a> {
    pub(crate) ident: &'a Ident,
    pub(crate) ty: &'a Type,
    /// The name of the property.
    pub(crate) name: String,
    pub(crate) role: Role,
    pub(crate) attributes: FieldAttributes,
}

/// What a field is to the store.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Id,
    Stored,
    Transient,
    /// Links in rows of their own.
    Relation,
    /// The other direction of links.
    Backlink,
}

impl Role {
    /// Whether the field stands for links that lie beside the object.
    pub(crate) fn is_links(self) -> bool {
        matches!(self, Role::Relation | Role::Backlink)
    }
}

impl<'a> EntityInput<'a> {
    /// Reads a struct, or says all that is wrong with it.
    pub(crate) fn from_derive(input: &'a DeriveInput) -> Result<Self> {
        let fields = named_fields(input)?;
        if let Some(first) = input.generics.params.first() {
            return Err(Error::new(
                first.span(),
                "an entity has no generic parameters: its name and properties are fixed in the schema; write a struct for \
                 each case",
            ));
        }
        let mut errors = Errors::default();
        let attributes = errors.keep(EntityAttributes::parse(&input.attrs)).unwrap_or_default();
        let name = match &attributes.name {
            Some(name) => name.value(),
            None => {
                let name = input.ident.unraw().to_string();
                errors.keep(check_name(&name, input.ident.span()));
                name
            }
        };
        let fields = fields.iter().filter_map(|field| errors.keep(FieldInput::from_field(field))).collect();
        let mut entity =
            EntityInput { ident: &input.ident, visibility: &input.vis, name, attributes, fields };
        // A missing id may be only a field that could not be read, so this waits for the next round.
        if errors.is_empty() {
            errors.keep(entity.find_id());
            errors.keep(entity.check_names());
            errors.keep(entity.check_policy());
            errors.keep(entity.one_of("id_companion", |attributes| attributes.id_companion));
            errors.keep(entity.one_of("expires", |attributes| attributes.expires));
        }
        errors.finish(entity)
    }

    /// The field that is the id.
    pub(crate) fn id(&self) -> &FieldInput<'a> {
        self.fields
            .iter()
            .find(|field| field.role == Role::Id)
            .expect("`from_derive` refuses a struct without an id")
    }

    /// The fields that records hold, in order of ordinal.
    pub(crate) fn stored(&self) -> impl Iterator<Item = &FieldInput<'a>> {
        self.fields.iter().filter(|field| field.role == Role::Stored)
    }

    /// Whether a field has this attribute.
    pub(crate) fn marks(&self, span: fn(&FieldAttributes) -> Option<Span>) -> bool {
        self.fields.iter().any(|field| span(&field.attributes).is_some())
    }

    fn find_id(&mut self) -> Result<()> {
        let mut marked = self.fields.iter().filter_map(|field| field.attributes.id);
        if let (Some(_), Some(second)) = (marked.next(), marked.next()) {
            return Err(Error::new(second, "an entity has one id: remove this `#[id]`"));
        }
        let marked = self.fields.iter().position(|field| field.attributes.id.is_some());
        let named =
            || self.fields.iter().position(|field| field.role == Role::Stored && field.ident.unraw() == "id");
        let Some(at) = marked.or_else(named) else {
            return Err(Error::new(
                self.ident.span(),
                "an entity needs an id: add a field `id: u64`, or mark a field of type u64 with `#[id]`",
            ));
        };
        let field = &mut self.fields[at];
        field.role = Role::Id;
        field.check_id()
    }

    /// The field that has this attribute; more than one is an error.
    fn one_of(&self, name: &str, span: fn(&FieldAttributes) -> Option<Span>) -> Result<Option<Span>> {
        let mut marked = self.fields.iter().filter_map(|field| span(&field.attributes));
        match (marked.next(), marked.next()) {
            (_, Some(second)) => {
                Err(Error::new(second, format!("an entity has one `#[{name}]` at most: remove this one")))
            }
            (first, None) => Ok(first),
        }
    }

    /// The same; one where nothing travels is an error, too.
    fn one_with(&self, name: &str, span: fn(&FieldAttributes) -> Option<Span>) -> Result<Option<Span>> {
        match self.one_of(name, span)? {
            Some(first) if self.attributes.sync.is_none() => Err(Error::new(
                first,
                format!("`#[{name}]` is for entities that travel: add `#[entity(sync)]`, or remove it"),
            )),
            first => Ok(first),
        }
    }

    fn check_policy(&self) -> Result<()> {
        self.one_with("sync_clock", |attributes| attributes.sync_clock)?;
        let precedence = self.one_with("sync_precedence", |attributes| attributes.sync_precedence)?;
        let Some(policy) = &self.attributes.conflict else { return Ok(()) };
        match (policy.value().as_str(), precedence) {
            ("precedence", None) => Err(Error::new(
                policy.span(),
                "the policy `precedence` goes by a property: mark a field of whole numbers with `#[sync_precedence]`",
            )),
            ("precedence", _) | (_, None) => Ok(()),
            (other, Some(_)) => Err(Error::new(
                policy.span(),
                format!(
                    "`#[sync_precedence]` implies the policy `precedence`: remove `conflict = \"{other}\"`, or the mark"
                ),
            )),
        }
    }

    fn check_names(&self) -> Result<()> {
        let mut errors = Errors::default();
        let properties: Vec<_> = self.fields.iter().filter(|field| field.role != Role::Transient).collect();
        for (at, field) in properties.iter().enumerate() {
            if properties[..at].iter().any(|earlier| earlier.name == field.name) {
                let span = field.attributes.name.as_ref().map_or(field.ident.span(), |name| name.span());
                errors.add(Error::new(
                    span,
                    format!(
                        "the property name `{}` is taken by a field above: give this one another name",
                        field.name
                    ),
                ));
            }
        }
        errors.finish(())
    }
}

impl<'a> FieldInput<'a> {
    fn from_field(field: &'a Field) -> Result<Self> {
        let attributes = FieldAttributes::parse(&field.attrs)?;
        let ident = field.ident.as_ref().expect("the fields of a struct with named fields have names");
        if let Some(default) = &attributes.default
            && let Some(name) = null_by_itself(&field.ty)
        {
            return Err(Error::new(
                default.span(),
                format!(
                    "an `{name}` says by itself that there is no value: remove `default`, or the `{name}`"
                ),
            ));
        }
        let role = role(field, &attributes)?;
        let name = match &attributes.name {
            Some(name) => name.value(),
            None => {
                let name = ident.unraw().to_string();
                if role != Role::Transient {
                    check_name(&name, ident.span())?;
                }
                name
            }
        };
        Ok(FieldInput { ident, ty: &field.ty, name, role, attributes })
    }

    fn check_id(&self) -> Result<()> {
        if !could_be_u64(self.ty) {
            return Err(Error::new(
                self.ty.span(),
                "the id of an entity is a `u64`: change the field's type",
            ));
        }
        let pointless = [
            (self.attributes.index, "index"),
            (self.attributes.unique, "unique"),
            (self.attributes.sync_clock, "sync_clock"),
            (self.attributes.sync_precedence, "sync_precedence"),
            (self.attributes.id_companion, "id_companion"),
            (self.attributes.expires, "expires"),
        ];
        if let Some((span, name)) = pointless.into_iter().find_map(|(span, name)| Some((span?, name))) {
            return Err(Error::new(
                span,
                format!("the id is the key by which objects are found: remove `#[{name}]`"),
            ));
        }
        if let Some(default) = &self.attributes.default {
            return Err(Error::new(default.span(), "every object has an id: remove `default`"));
        }
        if self.attributes.with.is_some() {
            return Err(Error::new(
                self.ty.span(),
                "the id is a `u64` that the store reads: remove the conversion",
            ));
        }
        match &self.attributes.ty {
            Some(ty) => Err(Error::new(ty.span(), "the id is always stored as Long: remove `ty`")),
            None => Ok(()),
        }
    }
}

/// The type's name, if it is one of those that have a value for null.
fn null_by_itself(ty: &Type) -> Option<&'static str> {
    let Type::Path(path) = ty else { return None };
    let last = &path.path.segments.last()?.ident;
    ["Option", "ToOne", "Flex"].into_iter().find(|name| last == name)
}

/// The `T` of an `Option<T>`.
pub(crate) fn optional(ty: &Type) -> Option<&Type> {
    let Type::Path(path) = ty else { return None };
    let last = path.path.segments.last().filter(|last| last.ident == "Option")?;
    match &last.arguments {
        PathArguments::AngleBracketed(arguments) => {
            arguments.args.iter().find_map(|argument| match argument {
                GenericArgument::Type(ty) => Some(ty),
                _ => None,
            })
        }
        _ => None,
    }
}

/// What a field is to the store, by its attributes, and by its type where that says it.
fn role(field: &Field, attributes: &FieldAttributes) -> Result<Role> {
    let is = |name: &str| match &field.ty {
        Type::Path(path) => path.path.segments.last().is_some_and(|last| last.ident == name),
        _ => false,
    };
    if attributes.transient.is_some() {
        Ok(Role::Transient)
    } else if attributes.backlink.is_some() {
        Ok(Role::Backlink)
    } else if attributes.relation.is_some() || is("ToMany") {
        Ok(Role::Relation)
    } else if is("Backlinks") {
        Err(Error::new(
            field.ty.span(),
            "say of which link of the other entity this is the other direction: `#[backlink(to = \"..\")]`",
        ))
    } else {
        Ok(Role::Stored)
    }
}

/// Whether a type may be `u64`; another name may be an alias, which the compiler judges later.
fn could_be_u64(ty: &Type) -> bool {
    const OTHERS: &[&str] = &[
        "bool", "char", "str", "i8", "i16", "i32", "i64", "i128", "isize", "u8", "u16", "u32", "u128",
        "usize", "f32", "f64", "String", "Option", "Vec", "Box",
    ];
    match ty {
        Type::Path(path) => {
            path.path.segments.last().is_some_and(|last| !OTHERS.iter().any(|other| last.ident == other))
        }
        _ => false,
    }
}

fn named_fields(input: &DeriveInput) -> Result<&syn::punctuated::Punctuated<Field, syn::Token![,]>> {
    let (span, what): (Span, _) = match &input.data {
        Data::Struct(data) => match &data.fields {
            Fields::Named(fields) => return Ok(&fields.named),
            Fields::Unnamed(fields) => (fields.span(), "a struct with unnamed fields"),
            Fields::Unit => (input.ident.span(), "a struct without fields"),
        },
        Data::Enum(data) => (data.enum_token.span(), "an enum"),
        Data::Union(data) => (data.union_token.span(), "a union"),
    };
    Err(Error::new(
        span,
        format!(
            "{what} cannot be an entity: write a struct with named fields, for properties are known by name"
        ),
    ))
}

/// Collects mistakes so that all of them are told at once.
#[derive(Default)]
struct Errors {
    all: Option<Error>,
}

impl Errors {
    fn add(&mut self, error: Error) {
        match &mut self.all {
            Some(all) => all.combine(error),
            None => self.all = Some(error),
        }
    }

    fn keep<T>(&mut self, result: Result<T>) -> Option<T> {
        result.map_err(|error| self.add(error)).ok()
    }

    fn is_empty(&self) -> bool {
        self.all.is_none()
    }

    fn finish<T>(self, value: T) -> Result<T> {
        self.all.map_or(Ok(value), Err)
    }
}
