use reconvene_store::{Entity, PropertyValue};

#[derive(PropertyValue)]
#[property(crate = "reconvene_store")]
enum Without {
    Number,
}

#[derive(PropertyValue)]
#[property(crate = "reconvene_store")]
#[repr(u8)]
enum Fields {
    Small = 1,
    Sized(u32) = 2,
}

#[derive(PropertyValue)]
#[property(crate = "reconvene_store")]
#[repr(usize)]
enum Wide {
    One = 1,
}

#[derive(PropertyValue)]
#[property(crate = "reconvene_store")]
struct Pair(u32, u32);

#[derive(PropertyValue)]
#[property(crate = "reconvene_store")]
enum Twice {
    #[property(others)]
    Any(i32),
}

#[derive(Entity)]
#[entity(crate = "reconvene_store")]
struct Task {
    id: u64,
    #[property(default = 3)]
    stars: Option<u8>,
    #[expires]
    until: i64,
    #[index(hash, hash64)]
    text: String,
}

#[derive(Entity)]
#[entity(crate = "reconvene_store")]
struct Note {
    id: u64,
    #[id_companion]
    begun: i64,
    #[id_companion]
    ended: i64,
}

fn main() {}
