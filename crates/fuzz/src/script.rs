//! An input as a sequence of choices: how bytes drive a machine.

/// Takes choices from the front of an input; when it has run out, every choice is the first one.
#[derive(Clone, Debug)]
pub struct Script<'a> {
    rest: &'a [u8],
}

/// Numbers at which readers change their minds.
const EDGES: [u64; 16] = [
    0,
    1,
    2,
    0x7f,
    0x80,
    0xff,
    0x100,
    0xffff,
    0x1_0000,
    i32::MAX as u64,
    u32::MAX as u64,
    1 << 32,
    i64::MAX as u64 - 1,
    i64::MAX as u64,
    1 << 63,
    u64::MAX,
];

impl<'a> Script<'a> {
    /// The choices that these bytes make.
    pub fn new(bytes: &'a [u8]) -> Self {
        Script { rest: bytes }
    }

    /// Whether nothing is left to choose.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Everything that is left.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// One byte.
    pub fn byte(&mut self) -> u8 {
        match self.rest.split_first() {
            Some((&byte, rest)) => {
                self.rest = rest;
                byte
            }
            None => 0,
        }
    }

    /// A number below `end`, which is at most 256 and not 0.
    pub fn below(&mut self, end: usize) -> usize {
        usize::from(self.byte()) % end
    }

    /// Yes or no.
    pub fn flag(&mut self) -> bool {
        self.byte() & 1 != 0
    }

    /// Any number: small ones and edges in one or two bytes, others in nine.
    pub fn number(&mut self) -> u64 {
        match self.byte() {
            small @ 0..0xc0 => small.into(),
            edge @ 0xc0..0xf0 => EDGES[usize::from(edge) % EDGES.len()],
            _ => u64::from_le_bytes(self.array()),
        }
    }

    /// A number between these two.
    pub fn number_in(&mut self, from: u64, to: u64) -> u64 {
        let number = self.number();
        if (from..=to).contains(&number) {
            return number;
        }
        match (to - from).checked_add(1) {
            Some(count) => from + number % count,
            None => number,
        }
    }

    /// `N` bytes, filled up with zeros.
    pub fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut array = [0; N];
        let taken = self.take(N);
        array[..taken.len()].copy_from_slice(taken);
        array
    }

    /// Up to 65,535 bytes, as many as the script says and holds.
    pub fn bytes(&mut self) -> &'a [u8] {
        let len = match self.byte() {
            0xff => usize::from(u16::from_le_bytes(self.array())),
            short => short.into(),
        };
        self.take(len)
    }

    /// Some text.
    pub fn text(&mut self) -> String {
        String::from_utf8_lossy(self.bytes()).into_owned()
    }

    fn take(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.rest.split_at(len.min(self.rest.len()));
        self.rest = rest;
        taken
    }
}
