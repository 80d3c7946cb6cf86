//! Transactions that no honest device makes: each is answered as documented, and none leaves a trace.

use reconvene_model::change::{Cell, Op, OpKind, OpsWriter, TxHead, encode_tx};
use reconvene_model::identity::PeerKey;
use reconvene_model::schema::PROPERTIES_MAX;
use reconvene_model::{GlobalId, PropertyType, Seq, TxHash, Uid};
use reconvene_store::{
    Break, Decision, Delivery, Entity, EntityBox, Incoming, Role, Store, TX_VALUES_MAX, Verdict,
};

use crate::world::{Order, Shop, Town};

/// A server, and a peer that makes its bytes by hand.
struct Attack {
    store: Store,
    key: PeerKey,
    number: u64,
    previous: TxHash,
    hlc: u64,
}

#[derive(Entity, Default)]
#[entity(crate = "reconvene_store")]
struct Private {
    id: u64,
    note: String,
}

const NOW_MS: u64 = 1_800_000_000_000;

impl Attack {
    fn new() -> Attack {
        let store = Store::builder("memory:")
            .entity::<Shop>()
            .entity::<Town>()
            .entity::<Private>()
            .entity::<Order>()
            .role(Role::Server)
            .time_source(|| NOW_MS)
            .open()
            .unwrap();
        let key = PeerKey::from_secret([9; 32]);
        store.sync().register(key.peer(), &key.public()).unwrap();
        Attack { store, key, number: 0, previous: TxHash::NONE, hlc: NOW_MS << 16 }
    }

    fn uid(&self, entity: &str, property: &str) -> Uid {
        self.store.schema().entity_by_name(entity).unwrap().property(property).unwrap().uid
    }

    fn entity(&self, name: &str) -> Uid {
        self.store.schema().entity_by_name(name).unwrap().uid
    }

    fn own(&self, counter: u64) -> GlobalId {
        GlobalId::new(self.key.peer(), counter)
    }

    fn op<'a>(
        &self,
        entity: &str,
        gid: GlobalId,
        generation: u64,
        kind: OpKind,
        cells: Vec<Cell<'a>>,
    ) -> Op<'a> {
        let mut op = Op::new(self.entity(entity), gid, generation, kind);
        op.cells = cells;
        op.cells.sort_by_key(|cell| cell.uid);
        op
    }

    fn bytes(&self, ops: &[Op<'_>]) -> Vec<u8> {
        let mut writer = OpsWriter::new(self.key.peer());
        ops.iter().for_each(|op| writer.push(op));
        let head = TxHead {
            origin: self.key.peer(),
            number: self.number + 1,
            previous: self.previous,
            hlc: self.hlc,
        };
        encode_tx(&head, &writer.finish())
    }

    fn decide(&self, bytes: &[u8]) -> Decision {
        let before = self.store.sync().content_hash().unwrap();
        let decided =
            self.store.sync().decide(&[Incoming { peer: self.key.peer(), bytes }], &[]).unwrap().remove(0);
        if decided.push.is_none() {
            assert_eq!(
                self.store.sync().content_hash().unwrap(),
                before,
                "what was not accepted left a trace"
            );
        }
        decided.decision
    }

    fn send(&mut self, ops: &[Op<'_>]) -> Verdict {
        let bytes = self.bytes(ops);
        match self.decide(&bytes) {
            Decision::Verdict { number, verdict } => {
                assert_eq!(number, self.number + 1);
                self.number = number;
                self.previous = TxHash::of(&bytes);
                verdict
            }
            other => panic!("{other:?}"),
        }
    }

    /// The code with which the ops are refused.
    fn refused(&mut self, ops: &[Op<'_>]) -> u32 {
        match self.send(ops) {
            Verdict::Refused { code, .. } => code,
            other => panic!("{other:?}"),
        }
    }

    fn accepted(&mut self, ops: &[Op<'_>]) {
        let verdict = self.send(ops);
        assert!(matches!(verdict, Verdict::Accepted { .. }), "{verdict:?}");
    }

    fn broken(&self, bytes: &[u8]) -> Break {
        match self.decide(bytes) {
            Decision::Broken { what, .. } => what,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn what_the_schema_does_not_have_is_refused() {
    let mut attack = Attack::new();
    let unknown = Op::new(Uid(12345), attack.own(1), 0, OpKind::Insert);
    assert_eq!(attack.refused(&[unknown]), 605);
    let private = attack.op("Private", attack.own(1), 0, OpKind::Insert, vec![]);
    assert_eq!(attack.refused(&[private]), 605);
    let stock = Cell::new(attack.uid("Shop", "stock"), PropertyType::String, Some(b"many"));
    let other_type = attack.op("Shop", attack.own(1), 0, OpKind::Insert, vec![stock]);
    assert_eq!(attack.refused(&[other_type]), 607);
}

#[test]
fn ops_of_one_transaction_may_name_an_object_twice_and_in_any_order() {
    let mut attack = Attack::new();
    let name = attack.uid("Town", "name");
    let named = |text: &'static str| vec![Cell::new(name, PropertyType::String, Some(text.as_bytes()))];
    let insert = |attack: &Attack, counter, text| {
        attack.op("Town", attack.own(counter), 0, OpKind::Insert, named(text))
    };
    let change =
        |attack: &Attack, counter, kind, cells| attack.op("Town", attack.own(counter), 0, kind, cells);
    let ops =
        [insert(&attack, 1, "a"), insert(&attack, 2, "c"), change(&attack, 1, OpKind::Update, named("b"))];
    attack.accepted(&ops);
    let ops = [
        insert(&attack, 6, "f"),
        insert(&attack, 3, "d"),
        insert(&attack, 4, "gone"),
        change(&attack, 4, OpKind::Remove, vec![]),
        insert(&attack, 5, "e"),
        insert(&attack, 5, "e"),
        change(&attack, 2, OpKind::Remove, vec![]),
    ];
    attack.accepted(&ops);
    assert_eq!(
        attack.refused(&[insert(&attack, 7, "x"), change(&attack, 9, OpKind::Update, named("y"))]),
        700
    );
    let mut names: Vec<String> =
        attack.store.boxed::<Town>().unwrap().all().unwrap().iter().map(|town| town.name.clone()).collect();
    names.sort();
    assert_eq!(names, ["b", "d", "e", "f"]);
    assert_eq!(attack.store.check().unwrap(), []);
}

#[test]
fn text_that_is_none_is_no_transaction() {
    let attack = Attack::new();
    let name = Cell::new(attack.uid("Shop", "name"), PropertyType::String, Some(&[0xff, 0xfe]));
    let op = attack.op("Shop", attack.own(1), 0, OpKind::Insert, vec![name]);
    assert_eq!(attack.broken(&attack.bytes(&[op])), Break::Content);
    let tags = Cell::new(attack.uid("Shop", "tags"), PropertyType::StringVector, Some(&[9, 0, 0, 0, b'x']));
    let op = attack.op("Shop", attack.own(1), 0, OpKind::Insert, vec![tags]);
    assert_eq!(attack.broken(&attack.bytes(&[op])), Break::Content);
}

#[test]
fn objects_cannot_be_made_in_the_name_of_others() {
    let mut attack = Attack::new();
    for origin in [PeerKey::from_secret([1; 32]).peer(), reconvene_model::PeerId::SHARED] {
        let op = attack.op("Town", GlobalId::new(origin, 1), 0, OpKind::Insert, vec![]);
        assert_eq!(attack.refused(&[op]), 704);
    }
}

#[test]
fn generations_cannot_be_skipped() {
    let mut attack = Attack::new();
    let op = attack.op("Town", attack.own(1), 5, OpKind::Insert, vec![]);
    assert_eq!(attack.refused(&[op]), 701);
    let insert = attack.op("Town", attack.own(1), 0, OpKind::Insert, vec![]);
    attack.accepted(&[insert]);
    for generation in [1, u64::MAX - 1] {
        let op = attack.op("Town", attack.own(1), generation, OpKind::Remove, vec![]);
        assert_eq!(attack.refused(&[op]), 701);
    }
}

#[test]
fn what_never_existed_cannot_be_changed() {
    let mut attack = Attack::new();
    for kind in [OpKind::Update, OpKind::Remove] {
        let op = attack.op("Town", attack.own(77), 0, kind, vec![]);
        assert_eq!(attack.refused(&[op]), 700);
    }
}

#[test]
fn a_transaction_is_refused_whole() {
    let mut attack = Attack::new();
    let good = attack.op("Town", attack.own(1), 0, OpKind::Insert, vec![]);
    let bad = attack.op("Town", attack.own(2), 0, OpKind::Update, vec![]);
    let verdict = attack.send(&[good, bad]);
    assert!(matches!(verdict, Verdict::Refused { code: 700, op: Some(1), .. }), "{verdict:?}");
}

#[test]
fn one_transaction_cannot_take_a_unique_value_twice_but_may_swap_two() {
    let mut attack = Attack::new();
    let code = attack.uid("Shop", "code");
    let cell = |text: &'static [u8]| vec![Cell::new(code, PropertyType::String, Some(text))];
    let twice = [
        attack.op("Shop", attack.own(1), 0, OpKind::Insert, cell(b"A")),
        attack.op("Shop", attack.own(2), 0, OpKind::Insert, cell(b"A")),
    ];
    assert_eq!(attack.refused(&twice), 703);
    let both = [
        attack.op("Shop", attack.own(1), 0, OpKind::Insert, cell(b"A")),
        attack.op("Shop", attack.own(2), 0, OpKind::Insert, cell(b"B")),
    ];
    attack.accepted(&both);
    let swap = [
        attack.op("Shop", attack.own(1), 0, OpKind::Update, cell(b"B")),
        attack.op("Shop", attack.own(2), 0, OpKind::Update, cell(b"A")),
    ];
    attack.hlc += 1;
    attack.accepted(&swap);
    let taken = attack.op("Shop", attack.own(3), 0, OpKind::Insert, cell(b"A"));
    assert_eq!(attack.refused(&[taken]), 703);
}

#[test]
fn a_clock_far_ahead_is_refused_and_one_a_little_ahead_is_not() {
    let mut attack = Attack::new();
    let insert = attack.op("Town", attack.own(1), 0, OpKind::Insert, vec![]);
    attack.hlc = (NOW_MS + 61_000) << 16;
    assert_eq!(attack.refused(std::slice::from_ref(&insert)), 604);
    attack.hlc = u64::MAX;
    assert_eq!(attack.refused(std::slice::from_ref(&insert)), 604);
    attack.hlc = (NOW_MS + 59_000) << 16;
    attack.accepted(&[insert]);
}

#[test]
fn unknown_properties_do_not_pile_up_without_bound() {
    let mut attack = Attack::new();
    let gid = attack.own(1);
    let insert = attack.op("Town", gid, 0, OpKind::Insert, vec![]);
    attack.accepted(&[insert]);
    let mut codes = Vec::new();
    for part in 0..3_u64 {
        let uids = (0..PROPERTIES_MAX as u64 / 2).map(|n| Uid(1_000_000 + part * 10_000 + n));
        let cells = uids.map(|uid| Cell::new(uid, PropertyType::Bool, Some(&[1]))).collect();
        let op = attack.op("Town", gid, 0, OpKind::Update, cells);
        attack.hlc += 1;
        codes.push(match attack.send(&[op]) {
            Verdict::Accepted { .. } => 0,
            Verdict::Refused { code, .. } => code,
            other => panic!("{other:?}"),
        });
    }
    assert_eq!(codes.last(), Some(&603), "{codes:?}");
    // What was taken can be caught up with.
    let chunk = attack.store.sync().chunk(reconvene_store::ChunkStart::default(), 1 << 20).unwrap();
    assert!(chunk.block.is_some());
}

#[test]
fn nulls_that_take_a_bit_each_do_not_fill_the_memory() {
    let mut attack = Attack::new();
    let uids = (0..PROPERTIES_MAX as u64).map(|n| Uid(1_000_000 + n));
    let cells: Vec<Cell<'_>> = uids.map(|uid| Cell::new(uid, PropertyType::Int, None)).collect();
    let op = |counter| attack.op("Town", attack.own(counter), 0, OpKind::Insert, cells.clone());
    let most = TX_VALUES_MAX / PROPERTIES_MAX;
    let mut writer = OpsWriter::new(attack.key.peer());
    (1..=most as u64 + 1).for_each(|counter| writer.push(&op(counter)));
    let head = TxHead { origin: attack.key.peer(), number: 1, previous: TxHash::NONE, hlc: attack.hlc };
    let bytes = encode_tx(&head, &writer.finish());
    assert!(bytes.len() < 1 << 20, "it travels in {} bytes", bytes.len());
    match attack.decide(&bytes) {
        Decision::Verdict { verdict: Verdict::Refused { code: 603, op: Some(at), .. }, .. } => {
            assert_eq!(at as usize, most);
        }
        other => panic!("{other:?}"),
    }
    let small = op(1);
    (attack.number, attack.previous) = (1, TxHash::of(&bytes));
    attack.accepted(&[small]);
}

#[test]
fn bytes_that_are_not_the_due_transaction_end_the_session() {
    let mut attack = Attack::new();
    let insert = attack.op("Town", attack.own(1), 0, OpKind::Insert, vec![]);
    assert_eq!(attack.broken(b""), Break::Content);
    assert_eq!(attack.broken(b"nonsense"), Break::Content);
    let good = attack.bytes(std::slice::from_ref(&insert));
    for cut in 0..good.len() {
        assert_eq!(attack.broken(&good[..cut]), Break::Content, "cut at {cut}");
    }
    let empty = attack.bytes(&[]);
    assert_eq!(attack.broken(&empty), Break::Content);
    attack.number = 1;
    let gap = attack.bytes(std::slice::from_ref(&insert));
    assert_eq!(attack.broken(&gap), Break::Gap);
    attack.number = 0;
    attack.previous = TxHash([7; 16]);
    let chain = attack.bytes(std::slice::from_ref(&insert));
    assert_eq!(attack.broken(&chain), Break::Chain);
    let stranger = PeerKey::from_secret([3; 32]);
    attack.store.sync().register(stranger.peer(), &stranger.public()).unwrap();
    let incoming = Incoming { peer: stranger.peer(), bytes: &good };
    let decided = attack.store.sync().decide(&[incoming], &[]).unwrap().remove(0);
    assert!(matches!(decided.decision, Decision::Broken { what: Break::Content, .. }), "{decided:?}");
}

#[test]
fn flipped_bits_never_panic_and_never_make_a_half() {
    let mut attack = Attack::new();
    let name = Cell::new(attack.uid("Town", "name"), PropertyType::String, Some(b"Vila"));
    let ops = [
        attack.op("Town", attack.own(1), 0, OpKind::Insert, vec![name]),
        attack.op("Town", attack.own(2), 0, OpKind::Insert, vec![]),
    ];
    let good = attack.bytes(&ops);
    for bit in 0..good.len() * 8 {
        // A new store each time: what happens to be a transaction may be accepted.
        let fresh = Attack::new();
        let mut bytes = good.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        drop(fresh.decide(&bytes));
    }
    attack.accepted(&ops);
}

#[test]
fn an_object_that_the_server_never_made_is_not_the_one_that_has_its_id() {
    let mut attack = Attack::new();
    let own = attack.op("Town", attack.own(7), 0, OpKind::Insert, vec![]);
    attack.accepted(&[own]);
    // The town was given the server's local id 1.
    let pretended = GlobalId::new(attack.store.sync().peer(), 1);
    for (kind, code) in [(OpKind::Insert, 704), (OpKind::Update, 700), (OpKind::Remove, 700)] {
        let op = attack.op("Town", pretended, 0, kind, vec![]);
        assert_eq!(attack.refused(&[op]), code, "{kind:?}");
    }
    assert_eq!(attack.store.check().unwrap(), []);
}

#[test]
fn a_link_to_an_object_that_the_server_never_made_uses_up_no_ids() {
    let mut attack = Attack::new();
    let server = attack.store.sync().peer();
    for (counter, far) in [(1, 1), (2, u64::MAX), (3, u64::MAX - 1)] {
        let target = GlobalId::new(server, far).to_bytes();
        let town = Cell::new(attack.uid("Shop", "town"), PropertyType::Relation, Some(&target));
        let shop = attack.op("Shop", attack.own(counter), 0, OpKind::Insert, vec![town]);
        attack.accepted(&[shop]);
        let town = attack.op("Town", attack.own(counter), 0, OpKind::Insert, vec![]);
        attack.accepted(&[town]);
    }
    let shops: EntityBox<Shop> = attack.store.boxed().unwrap();
    let towns: EntityBox<Town> = attack.store.boxed().unwrap();
    for shop in shops.all().unwrap() {
        assert!(towns.get(shop.town.id()).unwrap().is_none(), "the link leads to a town of someone else");
    }
    assert_eq!(attack.store.check().unwrap(), []);
}

#[test]
fn what_a_device_never_made_takes_nothing_from_it() {
    let device =
        Store::builder("memory:").entity::<Shop>().entity::<Town>().time_source(|| NOW_MS).open().unwrap();
    let login =
        Delivery::Login { epoch: 1, view: 1, decided: 0, decided_seq: Seq(0), rebased: None, compare: false };
    device.sync().apply(&[login]).unwrap();
    let other = PeerKey::from_secret([9; 32]).peer();
    let schema = device.schema();
    let (shop, town) = (schema.entity_by_name("Shop").unwrap(), schema.entity_by_name("Town").unwrap());
    let own = |counter| GlobalId::new(device.sync().peer(), counter);
    let mut seq = 0;
    let mut push = |op: &Op<'_>| {
        let mut writer = OpsWriter::new(other);
        writer.push(op);
        seq += 1;
        let push =
            Delivery::Push { seq: Seq(seq), origin: other, hlc: NOW_MS << 16 | seq, ops: &writer.finish() };
        device.sync().apply(&[push]).unwrap();
    };
    // A foreign town is given the local id 1; then one that pretends to be the device's own of that number.
    push(&Op::new(town.uid, GlobalId::new(other, 5), 0, OpKind::Insert));
    push(&Op::new(town.uid, own(1), 0, OpKind::Insert));
    let towns: EntityBox<Town> = device.boxed().unwrap();
    assert_eq!(towns.count().unwrap(), 2);
    for far in [u64::MAX, 3] {
        let target = own(far).to_bytes();
        let mut op = Op::new(shop.uid, GlobalId::new(other, far), 0, OpKind::Insert);
        op.cells.push(Cell::new(shop.property("town").unwrap().uid, PropertyType::Relation, Some(&target)));
        push(&op);
    }
    let mut mine = Town { name: "mine".into(), ..Town::default() };
    towns.put(&mut mine).unwrap();
    let shops: EntityBox<Shop> = device.boxed().unwrap();
    assert!(shops.all().unwrap().iter().all(|shop| shop.town.id() != mine.id), "a link leads to a new town");
    assert_eq!(device.check().unwrap(), []);
}

/// Whatever would be refused stands before the end: no verdict depends on how far a server had read.
#[test]
fn what_cannot_be_read_to_its_end_gets_no_verdict() {
    let mut attack = Attack::new();
    let foreign =
        attack.op("Town", GlobalId::new(PeerKey::from_secret([3; 32]).peer(), 1), 0, OpKind::Insert, vec![]);
    let own = attack.op("Town", attack.own(1), 0, OpKind::Insert, vec![]);
    let refused = attack.bytes(&[foreign, own.clone()]);
    for cut in 0..refused.len() {
        assert_eq!(attack.broken(&refused[..cut]), Break::Content, "cut at {cut}");
    }
    attack.hlc = (NOW_MS + 3_600_000) << 16;
    let ahead = attack.bytes(&[own]);
    for cut in 0..ahead.len() {
        assert_eq!(attack.broken(&ahead[..cut]), Break::Content, "cut at {cut}");
    }
    assert_eq!(attack.broken(&attack.bytes(&[])), Break::Content);
    for whole in [ahead, refused] {
        let incoming = Incoming { peer: attack.key.peer(), bytes: &whole };
        let decided = attack.store.sync().decide(&[incoming], &[]).unwrap().remove(0);
        let is_due =
            matches!(decided.decision, Decision::Verdict { number: 1, verdict: Verdict::Refused { .. } });
        assert!(is_due, "{decided:?}");
    }
}

#[test]
fn a_peer_is_bound_to_its_first_key() {
    let attack = Attack::new();
    let other = PeerKey::from_secret([8; 32]);
    let error = attack.store.sync().register(attack.key.peer(), &other.public()).unwrap_err();
    assert!(matches!(error, reconvene_store::StoreError::KeyMismatch { .. }), "{error}");
}

#[test]
fn a_clock_that_a_stranger_shows_and_a_precedence_that_it_leaves_out_count_for_nothing() {
    let mut attack = Attack::new();
    let device =
        Store::builder("memory:").entity::<Shop>().entity::<Town>().entity::<Order>().open().unwrap();
    let (stage, note, clock) =
        (attack.uid("Order", "stage"), attack.uid("Order", "note"), attack.uid("Order", "clock"));
    let five = 5_i32.to_le_bytes();
    let future = i64::MAX.to_le_bytes();
    let cells = |text: &'static [u8], with_stage: bool| {
        let mut cells = vec![
            Cell::new(note, PropertyType::String, Some(text)),
            Cell::new(clock, PropertyType::Long, Some(&future)),
        ];
        cells.extend(with_stage.then(|| Cell::new(stage, PropertyType::Int, Some(&five))));
        cells
    };
    let writes = [
        (OpKind::Insert, cells(b"first", true), "first"),
        (OpKind::Update, cells(b"second", true), "second"),
        (OpKind::Update, cells(b"third", false), "second"),
    ];
    for (seq, (kind, cells, expected)) in (1..).map(Seq).zip(writes) {
        attack.hlc += 1;
        let op = attack.op("Order", attack.own(1), 0, kind, cells);
        let mut ops = OpsWriter::new(attack.key.peer());
        ops.push(&op);
        let push = Delivery::Push { seq, origin: attack.key.peer(), hlc: attack.hlc, ops: &ops.finish() };
        assert!(matches!(attack.send(&[op]), Verdict::Accepted { .. }), "it is accepted, and may lose");
        device.sync().apply(&[push]).unwrap();
        for store in [&attack.store, &device] {
            let order = store.boxed::<Order>().unwrap().all().unwrap().remove(0).into_inner();
            let clock = order.clock.cast_unsigned();
            assert_eq!((order.stage, order.note.as_str()), (5, expected));
            // The third write has no precedence, and loses to the second.
            assert_eq!(clock, attack.hlc.min((NOW_MS << 16) + 2), "the clock of the write that stands");
        }
    }
    assert_eq!(device.sync().content_hash().unwrap(), attack.store.sync().content_hash().unwrap());
}

#[test]
fn an_id_of_which_a_peer_spoke_before_it_was_handed_out_is_left_out() {
    let device =
        Store::builder("memory:").entity::<Shop>().entity::<Town>().time_source(|| NOW_MS).open().unwrap();
    let login =
        Delivery::Login { epoch: 1, view: 1, decided: 0, decided_seq: Seq(0), rebased: None, compare: false };
    device.sync().apply(&[login]).unwrap();
    let other = PeerKey::from_secret([9; 32]).peer();
    let schema = device.schema();
    let shop = schema.entity_by_name("Shop").unwrap();
    let town = shop.property("town").unwrap().uid;
    let early = GlobalId::new(device.sync().peer(), 3).to_bytes();
    let mut op = Op::new(shop.uid, GlobalId::new(other, 1), 0, OpKind::Insert);
    op.cells.push(Cell::new(town, PropertyType::Relation, Some(&early)));
    let mut writer = OpsWriter::new(other);
    writer.push(&op);
    let ops = writer.finish();
    device
        .sync()
        .apply(&[Delivery::Push { seq: Seq(1), origin: other, hlc: NOW_MS << 16, ops: &ops }])
        .unwrap();
    let towns: EntityBox<Town> = device.boxed().unwrap();
    let ids: Vec<u64> = (0..3).map(|_| towns.put(&mut Town::default()).unwrap()).collect();
    // The link holds the id 1 until there is such a town; there never is one of the number 3.
    assert_eq!(ids, [2, 4, 5]);
    let shops: EntityBox<Shop> = device.boxed().unwrap();
    let linked = shops.all().unwrap()[0].town.id();
    assert_eq!((linked, towns.get(linked).unwrap().is_none()), (1, true));
    assert_eq!(device.check().unwrap(), []);
}
