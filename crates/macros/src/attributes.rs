//! Reading the attributes of structs and fields; every mistake is an error at the word that is wrong.

use proc_macro2::Span;
use syn::meta::ParseNestedMeta;
use syn::spanned::Spanned;
use syn::{Attribute, Error, Expr, LitInt, LitStr, Meta, Path, Result, Type};

use crate::suggest::hint;

/// The longest name of an entity or property, in bytes: the schema's own limit, told here where the name stands.
const NAME_BYTES_MAX: usize = 256;

const CONFLICT_POLICIES: &[&str] = &["property", "object", "precedence", "arrival"];

const PROPERTY_TYPES: &[&str] = &[
    "Bool",
    "Byte",
    "Short",
    "Char",
    "Int",
    "Long",
    "Float",
    "Double",
    "String",
    "Date",
    "Relation",
    "DateNano",
    "Flex",
    "BoolVector",
    "ByteVector",
    "ShortVector",
    "CharVector",
    "IntVector",
    "LongVector",
    "FloatVector",
    "DoubleVector",
    "StringVector",
    "DateVector",
    "DateNanoVector",
];

/// What `#[entity(...)]` says.
#[derive(Default)]
pub(crate) struct EntityAttributes {
    pub(crate) name: Option<LitStr>,
    pub(crate) was: Option<LitStr>,
    pub(crate) uid: Option<LitInt>,
    pub(crate) sync: Option<Span>,
    pub(crate) shared_ids: Option<Span>,
    pub(crate) self_assigned_ids: Option<Span>,
    pub(crate) conflict: Option<LitStr>,
    pub(crate) crate_path: Option<Path>,
}

/// What the attributes of one field say.
#[derive(Default)]
pub(crate) struct FieldAttributes {
    pub(crate) id: Option<Span>,
    pub(crate) assignable: Option<Span>,
    pub(crate) monotonic: Option<Span>,
    pub(crate) index: Option<Span>,
    /// How the index is kept: what `#[index(...)]` names.
    pub(crate) index_options: IndexOptions,
    pub(crate) unique: Option<Span>,
    pub(crate) replace: Option<Span>,
    pub(crate) transient: Option<Span>,
    pub(crate) sync_clock: Option<Span>,
    pub(crate) sync_precedence: Option<Span>,
    pub(crate) id_companion: Option<Span>,
    pub(crate) expires: Option<Span>,
    /// Where `#[property]` stands, if it does.
    pub(crate) property: Option<Span>,
    pub(crate) name: Option<LitStr>,
    pub(crate) was: Option<LitStr>,
    pub(crate) uid: Option<LitInt>,
    pub(crate) ty: Option<LitStr>,
    pub(crate) handle: Option<LitStr>,
    pub(crate) default: Option<DefaultValue>,
    /// The type that converts the field into what is stored.
    pub(crate) with: Option<Conversion>,
    /// Where `#[relation]` stands, if it does.
    pub(crate) relation: Option<Span>,
    /// Where `#[backlink]` stands, if it does.
    pub(crate) backlink: Option<Span>,
    /// Of which link or relation a backlink is the other direction.
    pub(crate) to: Option<LitStr>,
    pub(crate) owned: Option<Span>,
}

/// What `#[index(...)]` names.
#[derive(Default)]
pub(crate) struct IndexOptions {
    pub(crate) hash: Option<Span>,
    pub(crate) hash64: Option<Span>,
    pub(crate) skip_null: Option<Span>,
    pub(crate) skip_zero: Option<Span>,
}

/// What a null is read as.
pub(crate) enum DefaultValue {
    /// The default of the field's type; where it was asked for.
    OfType(Span),
    /// Text.
    Text(LitStr),
    /// Anything else.
    Value(Box<Expr>),
}

/// What stores a field whose type is no type of property.
pub(crate) enum Conversion {
    /// A type that implements `Conversion`.
    With(Box<Type>),
    /// A type of property, with `From` and `TryFrom` between the two.
    Into(Box<Type>),
}

impl DefaultValue {
    pub(crate) fn span(&self) -> Span {
        match self {
            DefaultValue::OfType(span) => *span,
            DefaultValue::Text(text) => text.span(),
            DefaultValue::Value(value) => value.span(),
        }
    }
}

impl EntityAttributes {
    const OPTIONS: &[&str] =
        &["sync", "shared_ids", "self_assigned_ids", "conflict", "name", "was", "uid", "crate"];

    pub(crate) fn parse(attributes: &[Attribute]) -> Result<Self> {
        let mut found = EntityAttributes::default();
        for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("entity")) {
            attribute.parse_nested_meta(|meta| match word(&meta).as_str() {
                "sync" => flag(&mut found.sync, &meta),
                "shared_ids" => flag(&mut found.shared_ids, &meta),
                "self_assigned_ids" => flag(&mut found.self_assigned_ids, &meta),
                "conflict" => set(&mut found.conflict, &meta, one_of("a conflict policy", CONFLICT_POLICIES)),
                "name" => set(&mut found.name, &meta, name),
                "was" => set(&mut found.was, &meta, name),
                "uid" => set(&mut found.uid, &meta, uid),
                "crate" => set(&mut found.crate_path, &meta, |meta| {
                    meta.value()?.parse::<LitStr>()?.parse_with(Path::parse_mod_style)
                }),
                other => Err(meta.error(format!(
                    "`{other}` is not an option of `#[entity]`; {}",
                    hint(other, Self::OPTIONS)
                ))),
            })?;
        }
        if let (Some(shared), None) = (found.shared_ids, found.sync) {
            return Err(Error::new(
                shared,
                "shared ids are the same on all devices, so the entity must travel: add `sync`",
            ));
        }
        rename_or_uid(&found.was, &found.uid)?;
        Ok(found)
    }
}

impl FieldAttributes {
    const OPTIONS: &[&str] = &["name", "was", "uid", "ty", "handle", "default", "with", "convert"];

    pub(crate) fn parse(attributes: &[Attribute]) -> Result<Self> {
        let mut found = FieldAttributes::default();
        for attribute in attributes {
            let path = attribute.path();
            if path.is_ident("id") {
                once(&mut found.id, path.span(), "id")?;
                options(attribute, |meta| match word(meta).as_str() {
                    "assignable" => flag(&mut found.assignable, meta),
                    "monotonic" => flag(&mut found.monotonic, meta),
                    other => Err(meta.error(format!(
                        "`{other}` is not an option of `#[id]`; {}",
                        hint(other, &["assignable", "monotonic"])
                    ))),
                })?;
            } else if path.is_ident("index") {
                once(&mut found.index, path.span(), "index")?;
                let index = &mut found.index_options;
                options(attribute, |meta| match word(meta).as_str() {
                    "hash" => flag(&mut index.hash, meta),
                    "hash64" => flag(&mut index.hash64, meta),
                    "skip_null" => flag(&mut index.skip_null, meta),
                    "skip_zero" => flag(&mut index.skip_zero, meta),
                    other => Err(meta.error(format!(
                        "`{other}` is not an option of `#[index]`; {}",
                        hint(other, &["hash", "hash64", "skip_null", "skip_zero"])
                    ))),
                })?;
            } else if path.is_ident("unique") {
                once(&mut found.unique, path.span(), "unique")?;
                options(attribute, |meta| match word(meta).as_str() {
                    "replace" => flag(&mut found.replace, meta),
                    other => Err(meta.error(format!(
                        "`{other}` is not an option of `#[unique]`; the only one is `replace`"
                    ))),
                })?;
            } else if path.is_ident("id_companion") {
                bare(&mut found.id_companion, attribute, "id_companion")?;
            } else if path.is_ident("expires") {
                bare(&mut found.expires, attribute, "expires")?;
            } else if path.is_ident("transient") {
                bare(&mut found.transient, attribute, "transient")?;
            } else if path.is_ident("sync_clock") {
                bare(&mut found.sync_clock, attribute, "sync_clock")?;
            } else if path.is_ident("sync_precedence") {
                bare(&mut found.sync_precedence, attribute, "sync_precedence")?;
            } else if path.is_ident("relation") {
                once(&mut found.relation, path.span(), "relation")?;
                if !matches!(attribute.meta, Meta::Path(_)) {
                    attribute.parse_nested_meta(|meta| found.parse_relation(&meta))?;
                }
            } else if path.is_ident("backlink") {
                once(&mut found.backlink, path.span(), "backlink")?;
                if !matches!(attribute.meta, Meta::Path(_)) {
                    attribute.parse_nested_meta(|meta| found.parse_backlink(&meta))?;
                }
                if found.to.is_none() {
                    return Err(Error::new(
                        path.span(),
                        "a backlink is the other direction of a link or relation: name it, `#[backlink(to = \"..\")]`",
                    ));
                }
            } else if path.is_ident("property") {
                found.property = Some(path.span());
                attribute.parse_nested_meta(|meta| found.parse_option(&meta))?;
            } else if path.is_ident("entity") {
                return Err(Error::new(
                    path.span(),
                    "`#[entity]` stands on the struct; the options of a field are `#[property]`",
                ));
            }
        }
        rename_or_uid(&found.was, &found.uid)?;
        found.check_links()?;
        found.check_transient()?;
        if let (Some(_), Some(second)) = (found.index_options.hash, found.index_options.hash64) {
            return Err(Error::new(second, "an index holds hashes of one width: keep `hash` or `hash64`"));
        }
        Ok(found)
    }

    fn parse_option(&mut self, meta: &ParseNestedMeta<'_>) -> Result<()> {
        match word(meta).as_str() {
            "name" => set(&mut self.name, meta, name),
            "was" => set(&mut self.was, meta, name),
            "uid" => set(&mut self.uid, meta, uid),
            "ty" => set(&mut self.ty, meta, one_of("a type of property", PROPERTY_TYPES)),
            "handle" => set(&mut self.handle, meta, |meta| {
                let literal = meta.value()?.parse::<LitStr>()?;
                literal.parse::<syn::Ident>().map(|_| literal)
            }),
            "default" => {
                let value = match meta.input.peek(syn::Token![=]) {
                    false => DefaultValue::OfType(meta.path.span()),
                    true => match meta.value()?.parse::<Expr>()? {
                        Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(text), .. }) => DefaultValue::Text(text),
                        value => DefaultValue::Value(Box::new(value)),
                    },
                };
                set(&mut self.default, meta, |_| Ok(value))
            }
            "with" => set(&mut self.with, meta, |meta| Ok(Conversion::With(Box::new(type_of(meta)?)))),
            "convert" => set(&mut self.with, meta, |meta| Ok(Conversion::Into(Box::new(type_of(meta)?)))),
            own @ ("id" | "index" | "unique" | "transient" | "sync_clock" | "sync_precedence"
            | "id_companion" | "expires") => {
                Err(meta.error(format!("`{own}` is an attribute by itself: write `#[{own}]`")))
            }
            other => Err(meta.error(format!(
                "`{other}` is not an option of `#[property]`; {}",
                hint(other, Self::OPTIONS)
            ))),
        }
    }

    fn parse_relation(&mut self, meta: &ParseNestedMeta<'_>) -> Result<()> {
        match word(meta).as_str() {
            "owned" => flag(&mut self.owned, meta),
            "name" | "was" | "uid" | "handle" => self.parse_option(meta),
            other => Err(meta.error(format!(
                "`{other}` is not an option of `#[relation]`; {}",
                hint(other, &["owned", "name", "was", "uid", "handle"])
            ))),
        }
    }

    fn parse_backlink(&mut self, meta: &ParseNestedMeta<'_>) -> Result<()> {
        match word(meta).as_str() {
            "to" => set(&mut self.to, meta, name),
            "owned" => flag(&mut self.owned, meta),
            "name" | "handle" => self.parse_option(meta),
            other => Err(meta.error(format!(
                "`{other}` is not an option of `#[backlink]`; {}",
                hint(other, &["to", "owned", "name", "handle"])
            ))),
        }
    }

    /// Links beside the object are no properties.
    fn check_links(&self) -> Result<()> {
        if self.relation.or(self.backlink).is_none() {
            return Ok(());
        }
        let others = [
            (self.id, "id"),
            (self.index, "index"),
            (self.unique, "unique"),
            (self.sync_clock, "sync_clock"),
            (self.sync_precedence, "sync_precedence"),
            (self.property, "property"),
            (self.transient, "transient"),
            (self.relation.and(self.backlink), "backlink"),
        ];
        match others.into_iter().find_map(|(span, name)| Some((span?, name))) {
            None => Ok(()),
            Some((span, name)) => {
                let of = if self.relation.is_some() { "relation" } else { "backlink" };
                Err(Error::new(
                    span,
                    format!(
                        "the links of a `#[{of}]` are no property, so `#[{name}]` has no meaning: remove one of the two"
                    ),
                ))
            }
        }
    }

    fn check_transient(&self) -> Result<()> {
        let others = [
            (self.id, "id"),
            (self.index, "index"),
            (self.unique, "unique"),
            (self.sync_clock, "sync_clock"),
            (self.sync_precedence, "sync_precedence"),
            (self.id_companion, "id_companion"),
            (self.expires, "expires"),
            (self.property, "property"),
        ];
        match (self.transient, others.into_iter().find_map(|(span, name)| Some((span?, name)))) {
            (Some(_), Some((span, name))) => Err(Error::new(
                span,
                format!(
                    "a `#[transient]` field is not stored, so `#[{name}]` has no meaning: remove one of the two"
                ),
            )),
            _ => Ok(()),
        }
    }
}

fn word(meta: &ParseNestedMeta<'_>) -> String {
    meta.path.segments.iter().map(|segment| segment.ident.to_string()).collect::<Vec<_>>().join("::")
}

/// Reads what stands in the parentheses of an attribute, if it has some.
fn options(attribute: &Attribute, mut take: impl FnMut(&ParseNestedMeta<'_>) -> Result<()>) -> Result<()> {
    match attribute.meta {
        Meta::Path(_) => Ok(()),
        _ => attribute.parse_nested_meta(|meta| take(&meta)),
    }
}

fn type_of(meta: &ParseNestedMeta<'_>) -> Result<Type> {
    meta.value()?.parse::<LitStr>()?.parse()
}

fn once(slot: &mut Option<Span>, span: Span, name: &str) -> Result<()> {
    match slot.replace(span) {
        Some(_) => Err(Error::new(span, format!("`{name}` is given twice: remove one"))),
        None => Ok(()),
    }
}

fn bare(slot: &mut Option<Span>, attribute: &Attribute, name: &str) -> Result<()> {
    if !matches!(attribute.meta, Meta::Path(_)) {
        return Err(Error::new(
            attribute.path().span(),
            format!("`#[{name}]` takes no options: write it without parentheses"),
        ));
    }
    once(slot, attribute.path().span(), name)
}

fn flag(slot: &mut Option<Span>, meta: &ParseNestedMeta<'_>) -> Result<()> {
    let name = word(meta);
    if !meta.input.is_empty() && !meta.input.peek(syn::Token![,]) {
        return Err(meta.error(format!("`{name}` takes no value: being there is enough")));
    }
    once(slot, meta.path.span(), &name)
}

fn set<T>(
    slot: &mut Option<T>,
    meta: &ParseNestedMeta<'_>,
    parse: impl FnOnce(&ParseNestedMeta<'_>) -> Result<T>,
) -> Result<()> {
    match slot.replace(parse(meta)?) {
        Some(_) => Err(meta.error(format!("`{}` is given twice: remove one", word(meta)))),
        None => Ok(()),
    }
}

fn name(meta: &ParseNestedMeta<'_>) -> Result<LitStr> {
    let literal = meta.value()?.parse::<LitStr>()?;
    check_name(&literal.value(), literal.span())?;
    Ok(literal)
}

/// Names stand in expressions, so they look like names there.
pub(crate) fn check_name(name: &str, span: Span) -> Result<()> {
    let starts_well = name.starts_with(|first: char| first.is_alphabetic() || first == '_');
    if !starts_well || !name.chars().all(|c| c.is_alphanumeric() || c == '_') {
        return Err(Error::new(span, "a name is letters, digits and `_`, and does not begin with a digit"));
    }
    if name.len() > NAME_BYTES_MAX {
        return Err(Error::new(
            span,
            format!("a name has at most {NAME_BYTES_MAX} bytes; this one has {}", name.len()),
        ));
    }
    Ok(())
}

fn uid(meta: &ParseNestedMeta<'_>) -> Result<LitInt> {
    let literal = meta.value()?.parse::<LitInt>()?;
    match literal.base10_parse::<i64>() {
        Ok(1..) => Ok(literal),
        _ => Err(Error::new(literal.span(), format!("a uid is a number from 1 to {}", i64::MAX))),
    }
}

fn one_of(
    what: &'static str,
    known: &'static [&'static str],
) -> impl FnOnce(&ParseNestedMeta<'_>) -> Result<LitStr> {
    move |meta| {
        let literal = meta.value()?.parse::<LitStr>()?;
        let value = literal.value();
        if known.contains(&value.as_str()) {
            return Ok(literal);
        }
        Err(Error::new(literal.span(), format!("`{value}` is not {what}; {}", hint(&value, known))))
    }
}

fn rename_or_uid(was: &Option<LitStr>, uid: &Option<LitInt>) -> Result<()> {
    match (was, uid) {
        (Some(was), Some(_)) => Err(Error::new(
            was.span(),
            "`was` and `uid` both say which stored thing this is: keep `uid`, which holds through every rename",
        )),
        _ => Ok(()),
    }
}
