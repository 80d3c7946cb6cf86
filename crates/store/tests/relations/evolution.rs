//! Relations and backlinks that come, go and are renamed when a store opens.

use reconvene_model::model_file::ModelFile;
use reconvene_store::StoreError;

use super::*;

mod plain {
    use super::*;

    #[derive(Entity, Clone, Debug, Default)]
    #[entity(crate = "reconvene_store")]
    pub(super) struct Book {
        pub(super) id: u64,
        pub(super) shelf: ToOne<Shelf>,
    }

    #[derive(Entity, Clone, Debug, Default)]
    #[entity(crate = "reconvene_store")]
    pub(super) struct Shelf {
        id: u64,
    }
}

mod linked {
    use super::*;

    #[derive(Entity, Clone, Debug, Default)]
    #[entity(crate = "reconvene_store")]
    pub(super) struct Book {
        id: u64,
        shelf: ToOne<Shelf>,
        pub(super) about: ToMany<Book>,
    }

    #[derive(Entity, Clone, Debug, Default)]
    #[entity(crate = "reconvene_store")]
    pub(super) struct Shelf {
        id: u64,
        #[backlink(to = "shelf")]
        books: Backlinks<Book>,
    }
}

/// The same with other names.
mod renamed {
    use super::*;

    #[derive(Entity, Clone, Debug, Default)]
    #[entity(crate = "reconvene_store", name = "Volume", was = "Book")]
    pub(super) struct Volume {
        id: u64,
        #[property(was = "shelf")]
        board: ToOne<Board>,
        #[relation(was = "about")]
        cites: ToMany<Volume>,
    }

    #[derive(Entity, Clone, Debug, Default)]
    #[entity(crate = "reconvene_store", name = "Board", was = "Shelf")]
    pub(super) struct Board {
        id: u64,
        #[backlink(to = "board")]
        volumes: Backlinks<Volume>,
    }
}

#[test]
fn relations_and_backlinks_are_added_renamed_and_dropped_at_opening() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let store = builder(directory).entity::<plain::Shelf>().entity::<plain::Book>().open().unwrap();
    let shelf = store.boxed::<plain::Shelf>().unwrap().put(&mut plain::Shelf::default()).unwrap();
    let mut books = vec![plain::Book { shelf: shelf.into(), ..plain::Book::default() }; 3];
    store.boxed::<plain::Book>().unwrap().put_many(&mut books).unwrap();
    drop(store);

    // An index is built for the backlink, and the relation begins empty.
    let open = || builder(directory).entity::<linked::Shelf>().entity::<linked::Book>().open().unwrap();
    let store = open();
    assert_eq!(linked::Shelf::books().ids(&store, shelf).unwrap(), [1, 2, 3]);
    store.boxed::<linked::Book>().unwrap().update(1, |book| book.about.set([2, 3])).unwrap();
    drop(store);

    let store = builder(directory).entity::<renamed::Board>().entity::<renamed::Volume>().open().unwrap();
    assert_eq!(renamed::Volume::cites().ids(&store, 1).unwrap(), [2, 3]);
    assert_eq!(renamed::Board::volumes().ids(&store, shelf).unwrap(), [1, 2, 3]);
    assert_eq!(store.check().unwrap(), []);
    drop(store);

    // A program that knows only one side keeps what the other side needs.
    let store = builder(directory).entity::<renamed::Volume>().open().unwrap();
    assert_eq!(store.objects("Board").unwrap().linked(shelf, "volumes").unwrap(), [1, 2, 3]);
    let json = store.model().to_json();
    let model = ModelFile::parse(&json).unwrap();
    assert_eq!((model.to_json(), model.schema()), (json, store.schema()));
    drop(store);

    // Dropped, and with it its links and the index; a new relation has a new number and nothing of the old one.
    let described = |relation: bool| {
        let mut volume = renamed::Volume::description();
        if !relation {
            volume.relations.clear();
        }
        let mut board = renamed::Board::description();
        board.backlinks.clear();
        builder(directory).description(volume).description(board)
    };
    let store = described(false).open().unwrap();
    let volume = store.schema().entity_by_name("Volume").unwrap();
    assert!(volume.relations.is_empty() && volume.property("board").unwrap().index.is_none());
    assert!(store.model().to_json().contains("\"retiredRelationUids\": [\n"));
    drop(store);
    let error = described(true).open().unwrap_err();
    assert!(error.to_string().contains("was retired"), "{error}");
}

#[test]
fn a_relation_keeps_its_target() {
    let directory = tempfile::tempdir().unwrap();
    let open = || builder(directory.path()).entity::<linked::Shelf>();
    drop(open().entity::<linked::Book>().open().unwrap());
    let mut book = linked::Book::description();
    for (target, complaint) in
        [("Shelf", "give the relation a new uid"), ("Nobody", "Nobody, which is not in the schema")]
    {
        book.relations[0].target = target.into();
        let error = open().description(book.clone()).open().unwrap_err();
        assert!(error.to_string().contains(complaint), "{error}");
    }
}

#[test]
fn a_backlink_names_a_link_that_leads_here() {
    let open = |to: &str, source: &str| {
        let mut shelf = linked::Shelf::description();
        (shelf.backlinks[0].to, shelf.backlinks[0].source) = (to.into(), source.into());
        builder(Path::new("memory:")).description(shelf).entity::<linked::Book>().open().unwrap_err()
    };
    for (to, source, complaint) in [
        ("about", "Book", "no link and no relation to Shelf"),
        ("shelff", "Book", "no link and no relation to Shelf"),
        ("shelf", "Boook", "there is no Boook; register that entity"),
    ] {
        let error = open(to, source);
        assert!(matches!(error, StoreError::Model(_)), "{error:?}");
        assert!(error.to_string().contains(complaint), "{error}");
    }
}
