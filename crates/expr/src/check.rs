//! Checking an expression against an entity: names are found, values take their types, and NOT is carried down to the tests.

use reconvene_model::schema::RelationDef;
use reconvene_model::{EntityDef, PropertyDef, PropertyType, Schema};

use crate::ast::{Expr, Quantifier};
use crate::check_error::{CheckError, CheckErrorKind};
use crate::flex::FlexLeaf;
use crate::leaf::{Ask, Kind, Leaf, Of};
use crate::links::{Relation, Way};
use crate::nearest::nearest;
use crate::operand::Operand;
use crate::path::{Aspect, Path, Step};
use crate::predicate::{Count, Many, Node, One, Place, Predicate};
use crate::prepared::{Hole, Holes, Prepared};
use crate::site::{Question, Site};

/// How deep AND, OR, NOT and links may nest: far beyond what a person writes, far below what a stack holds.
pub const DEPTH_MAX: usize = 128;

/// How many links one path may follow.
pub const LINKS_MAX: usize = 8;

/// Makes an expression ready to be asked about the objects of an entity, without other objects and without parameters.
///
/// Names must be properties of the entity, operators must suit their types, and values must fit them. Numbers are
/// rounded to the nearest one that a Float or Double property can hold.
///
/// # Errors
///
/// The first [`CheckError`], in reading order; also for links to other entities, and for parameters without a default.
///
/// ```
/// # use reconvene_expr::{check, parse};
/// # use reconvene_model::{EntityDef, PropertyDef, PropertyFlags, PropertyId, PropertyType};
/// # let property = |id, name: &str, ty, flags| PropertyDef {
/// #     id: PropertyId(id), uid: Default::default(), name: name.into(), ty, flags, index: None,
/// #     relation_target: None, merge: Default::default(),
/// # };
/// # let task = EntityDef {
/// #     id: Default::default(), uid: Default::default(), name: "Task".into(), flags: Default::default(),
/// #     conflict: Default::default(), relations: vec![], backlinks: vec![], last_property_id: PropertyId(2),
/// #     properties: vec![
/// #         property(1, "id", PropertyType::Long, PropertyFlags::ID),
/// #         property(2, "done", PropertyType::Bool, PropertyFlags::NONE),
/// #     ],
/// # };
/// let error = check(&parse("doen == true")?, &task).unwrap_err();
/// assert_eq!(error.to_string(), "`Task` has no property `doen`; did you mean `done`?");
/// # Ok::<(), reconvene_expr::ParseError>(())
/// ```
pub fn check(expr: &Expr, entity: &EntityDef) -> Result<Predicate, CheckError> {
    let mut checker = Checker { schema: None, holes: Holes::default() };
    let root = checker.node(expr, Context { entity, negate: false, depth_left: DEPTH_MAX })?;
    match checker.holes.first_missing() {
        None => Ok(Predicate { root }),
        Some(parameter) => {
            let span = checker.holes.span_of(parameter);
            Err(CheckError::new(CheckErrorKind::Parameter { parameter: parameter.to_owned() }, span))
        }
    }
}

/// As [`check`], but with links to the other entities of a schema, and with parameters, which are given values afterwards.
///
/// # Errors
///
/// The first [`CheckError`], in reading order.
pub fn prepare(expr: &Expr, entity: &EntityDef, schema: &Schema) -> Result<Prepared, CheckError> {
    let mut checker = Checker { schema: Some(schema), holes: Holes::default() };
    let root = checker.node(expr, Context { entity, negate: false, depth_left: DEPTH_MAX })?;
    Ok(Prepared::new(Predicate { root }, checker.holes))
}

struct Checker<'s> {
    schema: Option<&'s Schema>,
    holes: Holes,
}

/// Where in the expression the checker is.
#[derive(Clone, Copy)]
struct Context<'e> {
    /// The entity that names belong to.
    entity: &'e EntityDef,
    /// Whether the opposite of what follows is meant.
    negate: bool,
    depth_left: usize,
}

impl<'e> Context<'e> {
    fn deeper(self) -> Result<Self, CheckError> {
        let depth_left = self.depth_left.checked_sub(1);
        let depth_left = depth_left.ok_or_else(|| CheckError::new(CheckErrorKind::TooDeep, None))?;
        Ok(Context { depth_left, ..self })
    }

    fn of(self, entity: &EntityDef) -> Context<'_> {
        Context { entity, negate: self.negate, depth_left: self.depth_left }
    }

    fn negated(self, negate: bool) -> Self {
        Context { negate: self.negate != negate, ..self }
    }
}

/// What is asked at the end of a path.
#[derive(Clone, Copy)]
enum End<'x> {
    Question(Question<&'x [Operand]>),
    /// How many of the objects there must meet a condition.
    Linked(Quantifier, &'x Expr),
}

impl<'s> Checker<'s> {
    fn node(&mut self, expr: &Expr, at: Context<'_>) -> Result<Node, CheckError> {
        Ok(match expr {
            Expr::All if at.negate => Node::Any(Vec::new()),
            Expr::All => Node::All(Vec::new()),
            Expr::Compare { path, op, value } => {
                let value = std::slice::from_ref(value);
                self.path(path, End::Question(Question::Compare { op: *op, value }), at)?
            }
            Expr::In { path, values, no_case } => {
                self.path(path, End::Question(Question::In { values, no_case: *no_case }), at)?
            }
            Expr::Between { path, low, high } => {
                let (low, high) = (std::slice::from_ref(low), std::slice::from_ref(high));
                self.path(path, End::Question(Question::Between { low, high }), at)?
            }
            Expr::Linked { which, path, condition } => self.path(path, End::Linked(*which, condition), at)?,
            Expr::And(parts) => self.joined(parts, !at.negate, at)?,
            Expr::Or(parts) => self.joined(parts, at.negate, at)?,
            Expr::Not(part) => self.node(part, at.deeper()?.negated(true))?,
        })
    }

    /// The parts together: all of them, or any.
    fn joined(&mut self, parts: &[Expr], all: bool, at: Context<'_>) -> Result<Node, CheckError> {
        let mut nodes = Vec::with_capacity(parts.len());
        for part in parts {
            match (self.node(part, at.deeper()?)?, all) {
                (Node::All(more), true) | (Node::Any(more), false) => nodes.extend(more),
                (node, _) => nodes.push(node),
            }
        }
        Ok(if all { Node::All(nodes) } else { Node::Any(nodes) })
    }

    fn path(&mut self, path: &Path, end: End<'_>, at: Context<'_>) -> Result<Node, CheckError> {
        self.steps(path, path.steps(), LINKS_MAX, end, at)
    }

    /// The node of what is asked at the end of these steps.
    fn steps(
        &mut self,
        path: &Path,
        steps: &[Step],
        links_left: usize,
        end: End<'_>,
        at: Context<'_>,
    ) -> Result<Node, CheckError> {
        let entity = at.entity;
        let Some((step, rest)) = steps.split_first() else {
            return Err(CheckError::new(CheckErrorKind::TooFar, path.span()));
        };
        let name = step.name().unwrap_or_default();
        if let Some(property) = entity.property(name) {
            return match rest {
                _ if property.ty == PropertyType::Flex => self.at_flex(path, property, rest, end, at),
                [] => self.at_property(path, step, property, end, at),
                _ if property.ty == PropertyType::Relation => {
                    let target = self.target(property, step, at.entity)?;
                    let links_left = links_left
                        .checked_sub(1)
                        .ok_or_else(|| CheckError::new(CheckErrorKind::TooFar, path.span()))?;
                    let inner = self.steps(path, rest, links_left, end, at.deeper()?.of(target))?;
                    let (slot, target) = (property.slot(), target.id);
                    Ok(Node::One(Box::new(One { slot, target, of_nothing: None, inner })))
                }
                _ => {
                    let kind = CheckErrorKind::NoWay {
                        property: format!("{}.{name}", entity.name),
                        ty: property.ty,
                    };
                    Err(CheckError::new(kind, step.span()))
                }
            };
        }
        let (relation, target, rest) = self.relation(name, rest, step, entity)?;
        if let Some(further) = rest.first() {
            let kind = CheckErrorKind::Many { relation: relation_name(steps, rest) };
            return Err(CheckError::new(kind, further.span().or(step.span())));
        }
        self.at_relation(path, relation, target, end, at, || relation_name(steps, rest))
    }

    /// What is asked of a property.
    fn at_property(
        &mut self,
        path: &Path,
        step: &Step,
        property: &PropertyDef,
        end: End<'_>,
        at: Context<'_>,
    ) -> Result<Node, CheckError> {
        let full_name = || format!("{}.{}", at.entity.name, property.name);
        let span = step.span();
        match end {
            End::Linked(which, condition) if property.ty == PropertyType::Relation => {
                let target = self.target(property, step, at.entity)?;
                // NONE is "not any", and ALL "not any that does not".
                let at = at.negated(which != Quantifier::Any);
                let inner = at.deeper()?.of(target).negated(which == Quantifier::All);
                let inner = self.node(condition, inner)?;
                let (slot, target) = (property.slot(), target.id);
                Ok(Node::One(Box::new(One { slot, target, of_nothing: Some(at.negate), inner })))
            }
            End::Linked(which, _) => {
                let kind =
                    CheckErrorKind::NoLink { property: full_name(), ty: property.ty, word: which.word() };
                Err(CheckError::new(kind, span))
            }
            End::Question(question) => {
                let elements = || {
                    Kind::of_elements(property.ty, property.is_unsigned()).ok_or_else(|| {
                        let word = match path.aspect() {
                            Aspect::Elements(which) => which.word(),
                            _ => "COUNT",
                        };
                        let kind =
                            CheckErrorKind::NoElements { property: full_name(), ty: property.ty, word };
                        CheckError::new(kind, span)
                    })
                };
                let (of, kind, negate) = match path.aspect() {
                    Aspect::Value => (Of::Value, None, false),
                    Aspect::Elements(which) => {
                        let fails = which == Quantifier::All;
                        (Of::AnyElement { fails }, Some(elements()?), which != Quantifier::Any)
                    }
                    Aspect::Count => {
                        elements()?;
                        (Of::Count, Some(Kind::COUNT), false)
                    }
                };
                let site = match kind {
                    None => Site::of_value(&at.entity.name, property, span),
                    Some(kind) => Site::new(&at.entity.name, &property.name, kind, span),
                };
                let kind = site.kind;
                let (ask, hole) = self.ask(site, question)?;
                let place = if property.is_id() { Place::Id } else { Place::Slot(property.slot()) };
                let negated = at.negate != negate;
                Ok(Node::Leaf(Leaf { place, ty: property.ty, of, kind, negated, ask, hole }))
            }
        }
    }

    /// What is asked of a place within a Flex property.
    fn at_flex(
        &mut self,
        path: &Path,
        property: &PropertyDef,
        rest: &[Step],
        end: End<'_>,
        at: Context<'_>,
    ) -> Result<Node, CheckError> {
        let question = match end {
            End::Question(question) => question,
            End::Linked(which, _) => {
                let name = format!("{}.{}", at.entity.name, property.name);
                let kind = CheckErrorKind::NoLink { property: name, ty: property.ty, word: which.word() };
                return Err(CheckError::new(kind, path.span()));
            }
        };
        let (of, negate) = match path.aspect() {
            Aspect::Value => (Of::Value, false),
            Aspect::Elements(which) => {
                (Of::AnyElement { fails: which == Quantifier::All }, which != Quantifier::Any)
            }
            Aspect::Count => (Of::Count, false),
        };
        let steps = FlexLeaf::steps_of(rest);
        let entity = &at.entity.name;
        let name = Path::property(property.name.clone()).with_steps(&steps).to_string();
        let site = match of {
            Of::Count => Site::new(entity, &name, Kind::COUNT, path.span()),
            _ => Site::within_flex(entity, &*name, path.span()),
        };
        let (ask, hole) = self.ask(site, question)?;
        let negated = at.negate != negate;
        Ok(Node::Flex(Box::new(FlexLeaf { slot: property.slot(), steps, of, negated, ask, hole })))
    }

    /// What is asked of the objects that a relation leads to.
    fn at_relation(
        &mut self,
        path: &Path,
        relation: Relation,
        target: &EntityDef,
        end: End<'_>,
        at: Context<'_>,
        name: impl Fn() -> String,
    ) -> Result<Node, CheckError> {
        match end {
            End::Linked(which, condition) => {
                let at = at.negated(which != Quantifier::Any);
                let inner = Context { negate: which == Quantifier::All, ..at.deeper()?.of(target) };
                let inner = self.node(condition, inner)?;
                Ok(Node::Many(Box::new(Many { relation, negated: at.negate, inner })))
            }
            End::Question(question) if path.aspect() == Aspect::Count => {
                let name = name();
                let site = Site::new(&at.entity.name, &name, Kind::COUNT, path.span());
                let (ask, hole) = self.ask(site, question)?;
                Ok(Node::Count(Box::new(Count { relation, negated: at.negate, ask, hole })))
            }
            End::Question(_) => Err(CheckError::new(CheckErrorKind::Many { relation: name() }, path.span())),
        }
    }

    /// The question with its values in their types, and its place among those with parameters if it is one of them.
    fn ask(
        &mut self,
        site: Site<'_>,
        question: Question<&[Operand]>,
    ) -> Result<(Ask, Option<usize>), CheckError> {
        let literals = |operands: &[Operand]| {
            let literal = |operand: &Operand| match operand {
                Operand::Literal(literal) => Some(literal.clone()),
                Operand::Parameter(_) => None,
            };
            operands.iter().map(literal).collect::<Option<Vec<_>>>()
        };
        let ask = match question {
            // By far the most frequent one.
            Question::Compare { op, value: [Operand::Literal(literal)] } => Some(site.compare(op, literal)?),
            Question::Compare { .. } => None,
            Question::In { values, no_case } => match literals(values) {
                Some(values) => Some(site.one_of(values.iter(), no_case)?),
                None => None,
            },
            Question::Between { low: [Operand::Literal(low)], high: [Operand::Literal(high)] } => {
                Some(site.between(low, high)?)
            }
            Question::Between { .. } => None,
        };
        match ask {
            Some(ask) => Ok((ask, None)),
            None => self.holes.push(Hole::new(site.into_owned(), question)),
        }
    }

    /// The entity that a link leads to.
    fn target(
        &self,
        property: &PropertyDef,
        step: &Step,
        entity: &EntityDef,
    ) -> Result<&'s EntityDef, CheckError> {
        let name = property.relation_target.as_deref().unwrap_or_default();
        let target = self.schema.and_then(|schema| schema.entity_by_name(name));
        target.ok_or_else(|| {
            let property = format!("{}.{}", entity.name, property.name);
            let kind = CheckErrorKind::UnknownTarget { property, target: name.to_owned() };
            CheckError::new(kind, step.span())
        })
    }

    /// The relation that begins with this name, the entity that it leads to, and the steps that follow.
    fn relation<'p>(
        &self,
        name: &str,
        rest: &'p [Step],
        step: &Step,
        entity: &EntityDef,
    ) -> Result<(Relation, &'s EntityDef, &'p [Step]), CheckError> {
        let find = |schema: &'s Schema| {
            if let Some(relation) = entity.relations.iter().find(|relation| relation.name == name) {
                let target = schema.entity_by_uid(relation.target)?;
                let way = Way::Forward { relation: relation.uid };
                return Some((Relation { target: target.id, way }, target, rest));
            }
            let other = schema.entity_by_name(name)?;
            let (back, rest) = rest.split_first()?;
            let back = back.name()?;
            let property = other.property(back).filter(|property| {
                property.ty == PropertyType::Relation
                    && property.relation_target.as_deref() == Some(entity.name.as_str())
            });
            let way = match property {
                Some(property) => Way::Backlink { property: property.id, slot: property.slot() },
                None => {
                    let leads_here =
                        |relation: &&RelationDef| relation.name == back && relation.target == entity.uid;
                    Way::Reverse { relation: other.relations.iter().find(leads_here)?.uid }
                }
            };
            Some((Relation { target: other.id, way }, other, rest))
        };
        if let Some(found) = self.schema.and_then(find) {
            return Ok(found);
        }
        if let Some((other, back)) =
            self.schema.and_then(|schema| schema.entity_by_name(name)).zip(rest.first())
        {
            let kind = CheckErrorKind::NoWayBack {
                property: format!("{}.{}", other.name, back.name().unwrap_or_default()),
                other: other.name.clone(),
                entity: entity.name.clone(),
            };
            return Err(CheckError::new(kind, back.span()));
        }
        let properties = entity.properties.iter().map(|property| property.name.as_str());
        let names =
            || properties.clone().chain(entity.relations.iter().map(|relation| relation.name.as_str()));
        let kind = CheckErrorKind::UnknownProperty {
            entity: entity.name.clone(),
            property: name.to_owned(),
            near: nearest(name, names()).map(str::to_owned),
            properties: names().map(str::to_owned).collect(),
        };
        Err(CheckError::new(kind, step.span()))
    }
}

/// The steps before `rest` as text.
fn relation_name(steps: &[Step], rest: &[Step]) -> String {
    let names = steps[..steps.len() - rest.len()].iter().filter_map(Step::name);
    names.collect::<Vec<_>>().join(".")
}
