//! Plays a story in every order in which its people can upload and reconnect.

use crate::script::{Thing, act, check_back, person};
use crate::world::{Moment, PEOPLE, World};

/// The most ways in which one story is played; of more, every so-manieth is.
const WAYS_MAX: usize = 240;

/// How people are connected while they upload and receive.
#[derive(Clone, Copy, Debug)]
enum Line {
    /// All the time: what others do comes in pushes.
    Steady,
    /// Anew for each step: what others did comes in catch-ups.
    Visits,
    /// Anew for each step, and answers to uploads are lost: verdicts come with the next login.
    Deaf,
}

/// What must hold in the end, when uploads came in a certain order.
struct End<'a> {
    /// Each says that one upload came before another.
    when: Vec<(&'a str, &'a str)>,
    lines: Vec<&'a str>,
}

/// A story in its parts.
#[derive(Default)]
struct Story<'a> {
    people: usize,
    old: Vec<usize>,
    server_is_old: bool,
    given: Vec<&'a str>,
    apart: Vec<&'a str>,
    ends: Vec<End<'a>>,
    later: Vec<&'a str>,
    last: Vec<&'a str>,
}

impl<'a> Story<'a> {
    fn read(text: &'a str) -> Story<'a> {
        let mut story = Story::default();
        let mut part = "";
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let words: Vec<&str> = line.split_whitespace().collect();
            match (words[0], part) {
                ("given" | "apart" | "later", _) if words.len() == 1 => part = words[0],
                ("then", "later") => part = "last",
                ("then" | "when", _) => {
                    part = "then";
                    let when = line.strip_prefix("when ").unwrap_or("");
                    let pair = |text: &'a str| text.split_once(" before ").expect("a before b");
                    let when = when.split(" and ").filter(|text| !text.is_empty()).map(pair).collect();
                    story.ends.push(End { when, lines: Vec::new() });
                }
                ("old", "") => {
                    for word in &words[1..] {
                        match *word {
                            "server" => story.server_is_old = true,
                            name => story.old.push(person(name)),
                        }
                    }
                }
                (_, "given") => story.given.push(line),
                (_, "apart") => story.apart.push(line),
                (_, "later") => story.later.push(line),
                (_, "last") => story.last.push(line),
                (_, "then") => story.ends.last_mut().expect("an end began").lines.push(line),
                _ => panic!("{line:?} belongs nowhere"),
            }
        }
        story.people = PEOPLE.iter().rposition(|name| text.contains(name)).expect("somebody") + 1;
        story
    }
}

/// Plays a story in every order.
pub(crate) fn play(text: &str) {
    let story = Story::read(text);
    let mut world = World::new(story.people, &story.old, story.server_is_old);
    story.given.iter().for_each(|line| act(&mut world, line));
    world.meet_and_part();
    story.apart.iter().for_each(|line| act(&mut world, line));
    let moment = world.moment();
    let waiting: Vec<usize> = (0..story.people).map(|device| world.unseen(device)).collect();
    let mut met = vec![false; story.ends.len()];
    for (order, heard, line) in ways(&waiting) {
        let mut trace = format!("uploads {order:?}, received after {heard:?} of them, {line:?}");
        let result = go(&story, &moment, &order, &heard, line, &mut met);
        if let Err(what) = result {
            trace.push_str(&format!(": {what}\n{text}"));
            panic!("{trace}");
        }
    }
    for (end, met) in story.ends.iter().zip(met) {
        assert!(met, "it never happens that {:?}", end.when);
    }
}

/// All orders of uploads, with how many of them each device has received in the middle, and how it is connected.
fn ways(waiting: &[usize]) -> Vec<(Vec<usize>, Vec<usize>, Line)> {
    let total: usize = waiting.iter().sum();
    let mut orders = vec![(Vec::new(), waiting.to_vec())];
    for _ in 0..total {
        let longer = orders.into_iter().flat_map(|(order, left)| {
            let next = (0..left.len()).filter(|&device| left[device] > 0).collect::<Vec<_>>();
            next.into_iter().map(move |device| {
                let (mut order, mut left) = (order.clone(), left.clone());
                order.push(device);
                left[device] -= 1;
                (order, left)
            })
        });
        orders = longer.collect();
    }
    let points = (total + 1).pow(u32::try_from(waiting.len()).unwrap());
    let mut all = Vec::new();
    for (order, _) in orders {
        for point in 0..points {
            let mut rest = point;
            let heard = waiting.iter().map(|_| {
                let at = rest % (total + 1);
                rest /= total + 1;
                at
            });
            let heard: Vec<usize> = heard.collect();
            for line in [Line::Steady, Line::Visits, Line::Deaf] {
                all.push((order.clone(), heard.clone(), line));
            }
        }
    }
    // A step that shares no factor with the number of lines and points takes some of each.
    let step = (all.len().div_ceil(WAYS_MAX)..).find(|step| step % 3 != 0 && step % (total + 1) != 0);
    let step = if all.len() <= WAYS_MAX { 1 } else { step.expect("there are many numbers") };
    all.into_iter().step_by(step).collect()
}

fn go(
    story: &Story<'_>,
    moment: &Moment,
    order: &[usize],
    heard: &[usize],
    line: Line,
    met: &mut [bool],
) -> Result<(), String> {
    let mut world = World::from(moment, story.server_is_old);
    if matches!(line, Line::Steady) {
        (0..story.people).for_each(|device| world.stay_connected(device));
    }
    for at in 0..=order.len() {
        for device in (0..story.people).filter(|&device| heard[device] == at) {
            world.connect(device);
            world.receive(device);
            if !matches!(line, Line::Steady) {
                world.cut(device);
            }
        }
        let Some(&device) = order.get(at) else { break };
        world.connect(device);
        world.upload(device, 1);
        match line {
            Line::Steady => {}
            Line::Visits => {
                world.take_verdicts(device);
                world.cut(device);
            }
            Line::Deaf => world.cut(device),
        }
    }
    world.meet();
    let mut due = Vec::new();
    for (end, met) in story.ends.iter().zip(met) {
        if end.when.iter().all(|(one, other)| place(order, one) < place(order, other)) {
            *met = true;
            due.extend_from_slice(&end.lines);
        }
    }
    check(&mut world, &due)?;
    if !story.later.is_empty() {
        (0..story.people).for_each(|device| world.cut(device));
        for device in &world.devices {
            for rejected in device.store.sync().rejected().unwrap() {
                device.store.sync().dismiss_rejected(rejected.number).unwrap();
            }
        }
        story.later.iter().for_each(|line| act(&mut world, line));
        world.meet();
        check(&mut world, &story.last)?;
    }
    Ok(())
}

/// Where in the order an upload stands: `ann` or `ann1` is the first of Ann's.
fn place(order: &[usize], upload: &str) -> usize {
    let name = upload.trim_end_matches(|letter: char| letter.is_ascii_digit());
    let nth = upload[name.len()..].parse().unwrap_or(1);
    let mut places = order.iter().enumerate().filter(|(_, device)| **device == person(name));
    places.nth(nth - 1).unwrap_or_else(|| panic!("{upload} uploads nothing")).0
}

/// Holds everybody against what a story says must be in the end.
fn check(world: &mut World, due: &[&str]) -> Result<(), String> {
    let things: Vec<Thing<'_>> = due
        .iter()
        .filter(|line| !is_back(line) && **line != "nothing")
        .map(|line| Thing::read(line))
        .collect();
    let hash = world.server.sync().content_hash().unwrap();
    let stores = world.devices.iter().map(|device| device.store.clone());
    let stores: Vec<_> = PEOPLE.into_iter().zip(stores).chain([("server", world.server.clone())]).collect();
    for (who, store) in stores {
        for thing in &things {
            let object = thing.find(&store).ok_or_else(|| format!("{who} has no {thing:?}"))?;
            if let Some(what) = thing.differs(&store, &object) {
                return Err(format!("at {who}, {what}"));
            }
        }
        let count =
            crate::app::ENTITIES.iter().map(|(_, entity)| store.objects(entity).unwrap().count().unwrap());
        let count: u64 = count.sum();
        if count != things.len() as u64 {
            return Err(format!("{who} has {count} objects, not {}", things.len()));
        }
        if store.sync().content_hash().unwrap() != hash {
            return Err(format!("{who} differs from the server although all that is shown is right"));
        }
        if store.sync().undecided().unwrap() != 0 {
            return Err(format!("{who} has something left to upload"));
        }
        let problems = store.check().unwrap();
        if !problems.is_empty() {
            return Err(format!("{who}: {problems:?}"));
        }
    }
    for (at, name) in PEOPLE.iter().enumerate().take(world.devices.len()) {
        let prefix = format!("{name} gets back ");
        let back: Vec<&str> = due.iter().filter_map(|line| line.strip_prefix(&prefix)).collect();
        check_back(&mut world.devices[at], &back).map_err(|what| format!("{name}: {what}"))?;
    }
    Ok(())
}

fn is_back(line: &str) -> bool {
    line.contains(" gets back ")
}
