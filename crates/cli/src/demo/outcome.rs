//! What has become of the conflicts, on all three stores, and whether it is what the laws say.

use anyhow::Result;
use reconvene::model::Value;
use reconvene::sync::Code;
use reconvene::{Rejected, RejectedOp, Store, Tracked};

use super::cities::{City, Shop};
use super::conflicts::{
    CODE, DIFFERENT, NOTE_OF_B, Played, RATING_OF_A, RATING_OF_REMOVED, REMOVED, ROLES, SAME, SAME_NOTE_OF_A,
    SAME_NOTE_OF_B,
};
use super::stage::Stage;

/// A row of the table.
pub(crate) struct Outcome {
    pub(crate) scene: String,
    pub(crate) a: String,
    pub(crate) b: String,
    /// What all three stores have.
    pub(crate) now: String,
    pub(crate) law: &'static str,
    /// Whether it is what the law says, on all three.
    pub(crate) holds: bool,
}

/// A write that took no effect.
pub(crate) struct Refused {
    pub(crate) device: &'static str,
    pub(crate) what: String,
    pub(crate) reason: String,
    pub(crate) expected: bool,
}

/// What one store has of the scenes.
struct View {
    name: &'static str,
    cities: [Option<Tracked<City>>; ROLES],
    shops: Vec<Tracked<Shop>>,
    /// What the link of the museum leads to.
    museum_in: Option<Tracked<City>>,
}

impl View {
    fn new(name: &'static str, store: &Store, ids: [u64; ROLES]) -> Result<View> {
        let cities = store.boxed::<City>()?;
        let shops = store.boxed::<Shop>()?.all()?;
        let museum_in = match shops.iter().find(|shop| shop.name == "Museum") {
            Some(museum) => cities.get(museum.city.id())?,
            None => None,
        };
        let mut found = [const { None }; ROLES];
        for (city, id) in found.iter_mut().zip(ids) {
            *city = cities.get(id)?;
        }
        Ok(View { name, cities: found, shops, museum_in })
    }

    fn city(&self, role: usize) -> String {
        let Some(city) = &self.cities[role] else { return "removed".to_owned() };
        let rating = city.rating.map(|rating| format!("rating {rating}"));
        let note = city.note.as_ref().map(|note| format!("note \"{note}\""));
        rating.into_iter().chain(note).collect::<Vec<_>>().join(", ")
    }

    fn shop(&self, name: &str) -> Option<&Shop> {
        self.shops.iter().find(|shop| shop.name == name).map(|shop| &**shop)
    }

    fn museum(&self) -> String {
        match (self.shop("Museum"), &self.museum_in) {
            (None, _) => "no Museum".to_owned(),
            (Some(museum), _) if museum.city.is_none() => "Museum without a link".to_owned(),
            (_, None) => "Museum, its link finds nothing".to_owned(),
            (_, Some(city)) => format!("Museum in {}", city.name),
        }
    }

    fn with_code(&self) -> String {
        let with_code = self.shops.iter().filter(|shop| shop.code.as_deref() == Some(CODE));
        format!("{CODE} is {}", with_code.map(|shop| shop.name.as_str()).collect::<Vec<_>>().join(" and "))
    }
}

/// What has become of everything.
pub(crate) fn judge(stage: &Stage, played: &Played) -> Result<Vec<Outcome>> {
    let scenes = &played.scenes;
    let [different, same, removed, linked] = &scenes.names;
    let views = [
        View::new("A", &stage.a.store, scenes.on_a)?,
        View::new("B", &stage.b.store, scenes.on_b)?,
        View::new("server", &stage.server, scenes.on_server)?,
    ];
    let [first_of_a, first_of_b] = played.first_shops;
    let later = |is_later: bool| if is_later { ", later" } else { "" };
    let winner = if scenes.b_is_later { SAME_NOTE_OF_B } else { SAME_NOTE_OF_A };
    let row =
        |scene: String, a: String, b: String, (now, holds), law| Outcome { scene, a, b, now, law, holds };
    Ok(vec![
        row(
            format!("{different}: edits of two properties"),
            format!("rating {RATING_OF_A}"),
            format!("note \"{NOTE_OF_B}\""),
            compare(&views, &format!("rating {RATING_OF_A}, note \"{NOTE_OF_B}\""), |view| {
                view.city(DIFFERENT)
            }),
            "each property is merged for itself",
        ),
        row(
            format!("{same}: edits of one property"),
            format!("note \"{SAME_NOTE_OF_A}\"{}", later(!scenes.b_is_later)),
            format!("note \"{SAME_NOTE_OF_B}\"{}", later(scenes.b_is_later)),
            compare(&views, &format!("note \"{winner}\""), |view| view.city(SAME)),
            "the later write of a property wins",
        ),
        row(
            format!("{removed}: removal against edit"),
            "removed".to_owned(),
            format!("rating {RATING_OF_REMOVED}"),
            compare(&views, "removed", |view| view.city(REMOVED)),
            "a removal beats edits made without knowing of it",
        ),
        row(
            "two inserts with the same local id".to_owned(),
            format!("shop {first_of_a}, Kiosk"),
            format!("shop {first_of_b}, Bakery"),
            both_shops(&views, played.first_shops),
            "objects are known by device and number; local ids are each device's own",
        ),
        row(
            format!("{linked}: removal against link"),
            "removed".to_owned(),
            "new shop Museum, linked to it".to_owned(),
            compare(&views, "Museum, its link finds nothing", View::museum),
            "a link keeps nothing alive, and is kept itself",
        ),
        row(
            "one unique code, taken twice".to_owned(),
            format!("new shop North Pier, {CODE}"),
            format!("new shop South Pier, {CODE}"),
            compare(&views, &format!("{CODE} is North Pier"), View::with_code),
            "the server takes the first and refuses the second",
        ),
    ])
}

/// What all have, or what each has, and whether it is what is expected.
fn compare(views: &[View], expected: &str, look: impl Fn(&View) -> String) -> (String, bool) {
    let seen: Vec<String> = views.iter().map(&look).collect();
    if seen.iter().all(|seen| seen == expected) {
        return (expected.to_owned(), true);
    }
    let each: Vec<_> = views.iter().zip(&seen).map(|(view, seen)| format!("{}: {seen}", view.name)).collect();
    (each.join("; "), false)
}

/// Both shops that were inserted under one local id are everywhere, and each device has kept its own id.
fn both_shops(views: &[View; 3], [first_of_a, first_of_b]: [u64; 2]) -> (String, bool) {
    let ids = |view: &View| [view.shop("Kiosk").map(|shop| shop.id), view.shop("Bakery").map(|shop| shop.id)];
    match views.each_ref().map(ids) {
        [[Some(kiosk_a), Some(bakery_a)], [Some(kiosk_b), Some(bakery_b)], [Some(_), Some(_)]] => {
            let kept = kiosk_a == first_of_a && bakery_b == first_of_b && first_of_a == first_of_b;
            let distinct = kiosk_a != bakery_a && kiosk_b != bakery_b;
            let now = format!("both: {kiosk_a} and {bakery_a} on A, {kiosk_b} and {bakery_b} on B");
            (now, kept && distinct)
        }
        _ => ("not both".to_owned(), false),
    }
}

/// What the devices keep of writes that took no effect: two of B's, and nothing else.
pub(crate) fn refused(stage: &Stage, played: &Played) -> Result<Vec<Refused>> {
    let ids = &played.scenes.on_b;
    let edit_of_removed = |rejected: &Rejected| {
        let value = ("rating".to_owned(), Value::Int(RATING_OF_REMOVED.into()));
        let is_edit =
            |op: &RejectedOp| op.entity == "City" && op.id == ids[REMOVED] && op.values.contains(&value);
        rejected.ops.len() == 1 && rejected.ops.iter().all(is_edit)
    };
    let taken_code = |rejected: &Rejected| {
        let code = ("code".to_owned(), Value::String(CODE.to_owned()));
        let name = ("name".to_owned(), Value::String("South Pier".to_owned()));
        let is_insert =
            |op: &RejectedOp| op.entity == "Shop" && op.values.contains(&code) && op.values.contains(&name);
        rejected.code == Code::NotUnique.number()
            && rejected.ops.len() == 1
            && rejected.ops.iter().all(is_insert)
    };
    let expected_of_b: [&dyn Fn(&Rejected) -> bool; 2] = [&edit_of_removed, &taken_code];
    let mut all = Vec::new();
    for (device, store, expected) in [("A", &stage.a.store, &[][..]), ("B", &stage.b.store, &expected_of_b)] {
        let rejected = store.sync().rejected()?;
        for (at, rejected) in rejected.iter().enumerate() {
            let what = rejected.ops.iter().map(|op| described(op, played)).collect::<Vec<_>>().join("; ");
            let reason = match rejected.code {
                0 => rejected.message.clone(),
                code => format!("{}: {}", Code::from_number(code), rejected.message),
            };
            let expected = expected.get(at).is_some_and(|is_expected| is_expected(rejected));
            all.push(Refused { device, what, reason, expected });
        }
        for _ in rejected.len()..expected.len() {
            let (what, reason) = ("nothing".to_owned(), "a write that took no effect is not kept".to_owned());
            all.push(Refused { device, what, reason, expected: false });
        }
    }
    Ok(all)
}

fn described(op: &RejectedOp, played: &Played) -> String {
    let city = |id: u64| {
        let role = played.scenes.on_b.iter().position(|&of_b| of_b == id);
        role.map_or_else(|| id.to_string(), |role| played.scenes.names[role].clone())
    };
    let values = op.values.iter().filter_map(|(name, value)| {
        Some(match value {
            Value::Null => return None,
            Value::String(text) => format!("{name} \"{text}\""),
            Value::Int(number) => format!("{name} {number}"),
            Value::Relation(id) => format!("{name} {}", city(*id)),
            other => format!("{name} {other:?}"),
        })
    });
    let kind = format!("{:?}", op.kind).to_lowercase();
    let object = if op.entity == "City" { city(op.id) } else { format!("a {}", op.entity) };
    format!("{kind} of {object}: {}", values.collect::<Vec<_>>().join(", "))
}
