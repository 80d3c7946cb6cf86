use reconvene_store::Entity;

#[derive(Entity)]
#[entity(crate = "reconvene_store")]
struct Task(u64, String);

#[derive(Entity)]
#[entity(crate = "reconvene_store")]
struct Nothing;

#[derive(Entity)]
#[entity(crate = "reconvene_store")]
enum Shape {
    Circle { id: u64 },
}

#[derive(Entity)]
#[entity(crate = "reconvene_store")]
union Bits {
    id: u64,
}

fn main() {}
