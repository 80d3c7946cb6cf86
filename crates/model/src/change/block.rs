//! The tables that begin a block of ops or states, so that entities, properties and peers are named once.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Range;

use crate::codec::{DecodeError, Reader, put_varint, unzigzag, zigzag};
use crate::ids::{Generation, PeerId, Uid};
use crate::schema::PROPERTIES_MAX;

/// The most shapes of one block: an entity with a choice of its properties.
pub const SHAPES_MAX: usize = 1 << 20;

/// The most peers of one block, besides the origin of its transaction.
pub const PEERS_MAX: usize = 1 << 20;

/// A block has more of something than its readers accept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("one block holds {len} {what}, the most is {max}: split the transaction into smaller ones")]
pub struct BlockTooLarge {
    /// What there is too much of.
    pub what: &'static str,
    /// How many there are.
    pub len: usize,
    /// How many there may be.
    pub max: usize,
}

impl BlockTooLarge {
    pub(crate) fn check(what: &'static str, len: usize, max: usize) -> Result<(), Self> {
        if len > max { Err(BlockTooLarge { what, len, max }) } else { Ok(()) }
    }
}

/// A property within a shape: which one, and its type number.
pub(crate) type ShapeProperty = (Uid, u8);

/// The bytes of a property within a shape.
const SHAPE_PROPERTY_BYTES: usize = 9;

/// The shapes and peers of a block that is being written.
#[derive(Debug)]
pub(crate) struct TablesWriter {
    shapes: Vec<Shape>,
    properties: Vec<ShapeProperty>,
    shapes_by_hash: HashMap<u64, usize>,
    last_shape: usize,
    /// What references point to: first those that the reader knows without being told, then the table.
    peers: Vec<PeerId>,
    known_peers: usize,
    peers_by_id: HashMap<PeerId, usize>,
    last_peer: usize,
    /// The bytes of the shapes without their count.
    shapes_bytes: usize,
}

impl TablesWriter {
    /// `known` are the peers that need no table: references count from there.
    pub(crate) fn new(known: &[PeerId]) -> Self {
        TablesWriter {
            shapes: Vec::new(),
            properties: Vec::new(),
            shapes_by_hash: HashMap::new(),
            last_shape: 0,
            peers: known.to_vec(),
            known_peers: known.len(),
            peers_by_id: known.iter().enumerate().map(|(at, &peer)| (peer, at)).collect(),
            last_peer: 0,
            shapes_bytes: 0,
        }
    }

    /// The index of this shape, appended if it is new. Neighbours mostly share theirs, so the last one is tried first.
    pub(crate) fn shape(
        &mut self,
        entity: Uid,
        properties: impl ExactSizeIterator<Item = ShapeProperty> + Clone,
    ) -> usize {
        if self.is_shape(self.last_shape, entity, properties.clone()) {
            return self.last_shape;
        }
        let mut hasher = DefaultHasher::new();
        entity.hash(&mut hasher);
        properties.clone().for_each(|property| property.hash(&mut hasher));
        let hash = hasher.finish();
        self.last_shape = match self.shapes_by_hash.get(&hash) {
            Some(&at) if self.is_shape(at, entity, properties.clone()) => at,
            // Two shapes of one hash only mean that one of them may stand in the table twice.
            _ => self.add_shape(entity, properties, hash),
        };
        self.last_shape
    }

    /// The reference to this peer, appended to the table if it is new.
    pub(crate) fn peer(&mut self, peer: PeerId) -> usize {
        if self.peers.get(self.last_peer) != Some(&peer) {
            let next = self.peers.len();
            self.last_peer = *self.peers_by_id.entry(peer).or_insert(next);
            if self.last_peer == next {
                self.peers.push(peer);
            }
        }
        self.last_peer
    }

    /// How many peers references know without the table.
    pub(crate) fn known_peers(&self) -> usize {
        self.known_peers
    }

    pub(crate) fn check_limits(&self) -> Result<(), BlockTooLarge> {
        BlockTooLarge::check("kinds of writes", self.shapes.len(), SHAPES_MAX)?;
        BlockTooLarge::check("peers", self.peers.len() - self.known_peers, PEERS_MAX)
    }

    /// The number of bytes that [`TablesWriter::put`] appends.
    pub(crate) fn bytes_len(&self) -> usize {
        let peers = self.peers.len() - self.known_peers;
        varint_len(self.shapes.len()) + self.shapes_bytes + varint_len(peers) + 8 * peers
    }

    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        put_varint(out, self.shapes.len() as u64);
        for shape in &self.shapes {
            out.extend_from_slice(&shape.entity.0.to_le_bytes());
            put_varint(out, shape.properties.len() as u64);
            for (uid, ty) in &self.properties[shape.properties.clone()] {
                out.extend_from_slice(&uid.0.to_le_bytes());
                out.push(*ty);
            }
        }
        let peers = &self.peers[self.known_peers..];
        put_varint(out, peers.len() as u64);
        for peer in peers {
            out.extend_from_slice(&peer.0.to_le_bytes());
        }
    }

    fn is_shape(
        &self,
        at: usize,
        entity: Uid,
        properties: impl ExactSizeIterator<Item = ShapeProperty>,
    ) -> bool {
        self.shapes.get(at).is_some_and(|shape| {
            shape.entity == entity
                && shape.properties.len() == properties.len()
                && self.properties[shape.properties.clone()].iter().copied().eq(properties)
        })
    }

    fn add_shape(
        &mut self,
        entity: Uid,
        properties: impl ExactSizeIterator<Item = ShapeProperty>,
        hash: u64,
    ) -> usize {
        let start = self.properties.len();
        self.properties.extend(properties);
        let shape = Shape { entity, properties: start..self.properties.len() };
        let count = shape.properties.len();
        assert!(count <= PROPERTIES_MAX, "an op writes no more properties than an entity may have");
        self.shapes_bytes += 8 + varint_len(count) + SHAPE_PROPERTY_BYTES * count;
        self.shapes.push(shape);
        let at = self.shapes.len() - 1;
        self.shapes_by_hash.insert(hash, at);
        at
    }
}

/// The shapes and peers of a block that is being read.
#[derive(Clone, Debug)]
pub(crate) struct Tables {
    shapes: Vec<Shape>,
    properties: Vec<ShapeProperty>,
    peers: Vec<PeerId>,
    known_peers: usize,
}

/// An entity and a range of the list of all shapes' properties.
#[derive(Clone, Debug)]
struct Shape {
    entity: Uid,
    properties: Range<usize>,
}

impl Tables {
    /// Reads and checks the tables; memory grows with the bytes that are there, not with the counts they announce.
    pub(crate) fn read(reader: &mut Reader<'_>, known: &[PeerId]) -> Result<Self, DecodeError> {
        let mut tables = Tables {
            shapes: Vec::new(),
            properties: Vec::new(),
            peers: known.to_vec(),
            known_peers: known.len(),
        };
        let mut uids = Vec::new();
        for _ in 0..read_count(reader, "shapes", SHAPES_MAX)? {
            tables.read_shape(reader, &mut uids)?;
        }
        for _ in 0..read_count(reader, "peers", PEERS_MAX)? {
            let peer = PeerId(reader.u64()?);
            if peer == PeerId::SHARED {
                return Err(DecodeError::Invalid { what: "the table of peers names nobody" });
            }
            tables.peers.push(peer);
        }
        Ok(tables)
    }

    /// The entity and the properties of the shape whose index is read.
    pub(crate) fn read_shape_index(
        &self,
        reader: &mut Reader<'_>,
    ) -> Result<(Uid, &[ShapeProperty]), DecodeError> {
        let at = reader.varint()?;
        let shape = usize::try_from(at)
            .ok()
            .and_then(|at| self.shapes.get(at))
            .ok_or(DecodeError::Invalid { what: "an index of a shape that the table does not hold" })?;
        Ok((shape.entity, &self.properties[shape.properties.clone()]))
    }

    /// What references point to.
    pub(crate) fn peers(&self) -> &[PeerId] {
        &self.peers
    }

    /// What indexes into the table of peers point to.
    pub(crate) fn table_peers(&self) -> &[PeerId] {
        &self.peers[self.known_peers..]
    }

    /// Whether every shape names its properties in ascending order.
    pub(crate) fn are_shapes_ascending(&self) -> bool {
        self.shapes.iter().all(|shape| is_ascending(&self.properties[shape.properties.clone()]))
    }

    fn read_shape(&mut self, reader: &mut Reader<'_>, uids: &mut Vec<Uid>) -> Result<(), DecodeError> {
        let entity = Uid(reader.u64()?);
        let start = self.properties.len();
        for _ in 0..read_count(reader, "properties of a shape", PROPERTIES_MAX)? {
            self.properties.push((Uid(reader.u64()?), reader.u8()?));
        }
        let properties = &self.properties[start..];
        if entity == Uid(0) || properties.iter().any(|&(uid, _)| uid == Uid(0)) {
            return Err(DecodeError::Invalid { what: "a shape names uid 0" });
        }
        if !is_ascending(properties) {
            uids.clear();
            uids.extend(properties.iter().map(|&(uid, _)| uid));
            uids.sort_unstable();
            if uids.windows(2).any(|pair| pair[0] == pair[1]) {
                return Err(DecodeError::Invalid { what: "a shape names a property twice" });
            }
        }
        self.shapes.push(Shape { entity, properties: start..self.properties.len() });
        Ok(())
    }
}

/// Reads a count and checks it against its limit.
pub(crate) fn read_count(
    reader: &mut Reader<'_>,
    what: &'static str,
    max: usize,
) -> Result<usize, DecodeError> {
    let len = reader.varint()?;
    if len > max as u64 {
        return Err(DecodeError::TooLong { what, len, max: max as u64 });
    }
    Ok(len as usize)
}

/// Reads the number of an object as its difference to the one before.
pub(crate) fn read_counter(reader: &mut Reader<'_>, last: u64) -> Result<u64, DecodeError> {
    match last.wrapping_add(unzigzag(reader.varint()?) as u64) {
        0 => Err(DecodeError::Invalid { what: "an object has the number 0" }),
        counter => Ok(counter),
    }
}

/// Appends the number of an object as its difference to the one before.
pub(crate) fn put_counter(out: &mut Vec<u8>, counter: u64, last: u64) {
    put_varint(out, zigzag(counter.wrapping_sub(last) as i64));
}

/// Reads a generation that a tag announced because it is not 0.
pub(crate) fn read_generation(reader: &mut Reader<'_>) -> Result<Generation, DecodeError> {
    match reader.varint()? {
        0 => Err(DecodeError::Invalid { what: "generation 0 is written out" }),
        generation => Ok(generation),
    }
}

/// The number of bytes of a count as a varint.
pub(crate) fn varint_len(value: usize) -> usize {
    let bits = usize::BITS - value.leading_zeros();
    bits.max(1).div_ceil(7) as usize
}

/// Reads the null bitmap of `cells` cells; the unused bits of its last byte have to be 0.
pub(crate) fn read_bitmap<'a>(reader: &mut Reader<'a>, cells: usize) -> Result<&'a [u8], DecodeError> {
    let bitmap = reader.bytes(cells.div_ceil(8))?;
    if !cells.is_multiple_of(8) && bitmap[cells / 8] >> (cells % 8) != 0 {
        return Err(DecodeError::Invalid { what: "the bitmap of nulls has bits without a cell" });
    }
    Ok(bitmap)
}

/// Whether the bitmap has a cell as null.
pub(crate) fn is_null(bitmap: &[u8], cell: usize) -> bool {
    bitmap[cell / 8] & (1 << (cell % 8)) != 0
}

/// Appends a bitmap without nulls for `cells` cells, and says where it stands.
pub(crate) fn put_bitmap(out: &mut Vec<u8>, cells: usize) -> usize {
    let at = out.len();
    match cells {
        0 => {}
        1..=8 => out.push(0),
        _ => out.resize(at + cells.div_ceil(8), 0),
    }
    at
}

/// Marks a cell of the bitmap that stands at `bitmap` as null.
pub(crate) fn set_null(out: &mut [u8], bitmap: usize, cell: usize) {
    out[bitmap + cell / 8] |= 1 << (cell % 8);
}

fn is_ascending(properties: &[ShapeProperty]) -> bool {
    properties.windows(2).all(|pair| pair[0].0 < pair[1].0)
}
