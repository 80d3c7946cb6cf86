use reconvene_store::Entity;

#[derive(Entity)]
#[entity(crate = "reconvene_store", name = "my task", uid = 0)]
struct Task {
    id: u64,
}

#[derive(Entity)]
#[entity(crate = "reconvene_store")]
struct Note {
    id: u64,
    #[property(name = "1st")]
    first: String,
    #[property(name = "")]
    second: String,
    #[property(uid = 9223372036854775808)]
    third: String,
    #[property(uid = "7")]
    fourth: String,
    #[property(was = "5th", uid = 5)]
    fifth: String,
    #[property(was = "old", uid = 5)]
    sixth: String,
    #[property(name = "a", name = "b")]
    seventh: String,
}

fn main() {}
