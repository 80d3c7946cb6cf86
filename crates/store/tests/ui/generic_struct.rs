use reconvene_store::Entity;

#[derive(Entity)]
#[entity(crate = "reconvene_store")]
struct Task<T> {
    id: u64,
    value: T,
}

#[derive(Entity)]
#[entity(crate = "reconvene_store")]
struct Note<'a> {
    id: u64,
    text: &'a str,
}

fn main() {}
