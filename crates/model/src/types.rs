//! Property types, flags and policies, with the numbers that model files use.

use std::fmt;

macro_rules! property_types {
    ($($(#[$doc:meta])* $name:ident = $number:literal),+ $(,)?) => {
        /// What a property holds; the discriminant is the type number of model files and of the wire.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum PropertyType { $($(#[$doc])* $name = $number),+ }

        impl PropertyType {
            /// Every type, in order of number.
            pub const ALL: &'static [PropertyType] = &[$(PropertyType::$name),+];

            /// The type of this number, if this release knows it.
            pub fn from_number(number: u8) -> Option<Self> {
                match number { $($number => Some(Self::$name),)+ _ => None }
            }

            /// The type's name as it stands in messages.
            pub fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name)),+ }
            }
        }
    };
}

property_types! {
    /// True or false, one byte.
    Bool = 1,
    /// An 8-bit integer.
    Byte = 2,
    /// A 16-bit integer.
    Short = 3,
    /// A 16-bit character code.
    Char = 4,
    /// A 32-bit integer.
    Int = 5,
    /// A 64-bit integer; also the type of ids.
    Long = 6,
    /// A 32-bit float.
    Float = 7,
    /// A 64-bit float.
    Double = 8,
    /// UTF-8 text.
    String = 9,
    /// Milliseconds since 1970, UTC.
    Date = 10,
    /// The id of an object of the target entity; 0 links to nothing.
    Relation = 11,
    /// Nanoseconds since 1970, UTC.
    DateNano = 12,
    /// A FlexBuffers value: a tree without a schema.
    Flex = 13,
    /// Booleans, a byte each.
    BoolVector = 22,
    /// Bytes.
    ByteVector = 23,
    /// 16-bit integers.
    ShortVector = 24,
    /// 16-bit character codes.
    CharVector = 25,
    /// 32-bit integers.
    IntVector = 26,
    /// 64-bit integers.
    LongVector = 27,
    /// 32-bit floats.
    FloatVector = 28,
    /// 64-bit floats.
    DoubleVector = 29,
    /// Strings.
    StringVector = 30,
    /// Milliseconds since 1970.
    DateVector = 31,
    /// Nanoseconds since 1970.
    DateNanoVector = 32,
}

impl PropertyType {
    /// The number of inline bytes of a scalar; `None` for strings, Flex and vectors.
    pub fn scalar_bytes(self) -> Option<usize> {
        use PropertyType::*;
        Some(match self {
            Bool | Byte => 1,
            Short | Char => 2,
            Int | Float => 4,
            Long | Double | Date | DateNano | Relation => 8,
            _ => return None,
        })
    }

    /// The number of bytes of a vector's element; `None` for scalars, strings, Flex and vectors of strings.
    pub fn element_bytes(self) -> Option<usize> {
        use PropertyType::*;
        Some(match self {
            BoolVector | ByteVector => 1,
            ShortVector | CharVector => 2,
            IntVector | FloatVector => 4,
            LongVector | DoubleVector | DateVector | DateNanoVector => 8,
            _ => return None,
        })
    }

    /// Whether values are whole numbers: integers, characters, dates; not booleans and not links.
    pub fn is_integer(self) -> bool {
        use PropertyType::*;
        matches!(self, Byte | Short | Char | Int | Long | Date | DateNano)
    }

    /// Whether values are floats.
    pub fn is_float(self) -> bool {
        matches!(self, PropertyType::Float | PropertyType::Double)
    }
}

impl fmt::Display for PropertyType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

macro_rules! flags {
    ($(#[$doc:meta])* $name:ident { $($(#[$fdoc:meta])* $flag:ident = $bit:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
        pub struct $name(pub u32);

        impl $name {
            $($(#[$fdoc])* pub const $flag: $name = $name($bit);)+

            /// No flag.
            pub const NONE: $name = $name(0);

            /// Whether all flags of `other` are set.
            pub const fn has(self, other: $name) -> bool {
                self.0 & other.0 == other.0
            }

            /// These flags and those of `other`.
            #[must_use]
            pub const fn with(self, other: $name) -> $name {
                $name(self.0 | other.0)
            }

            /// These flags without those of `other`.
            #[must_use]
            pub const fn without(self, other: $name) -> $name {
                $name(self.0 & !other.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut rest = self.0;
                let mut names = f.debug_set();
                $(if rest & $bit != 0 { rest &= !$bit; names.entry(&format_args!("{}", stringify!($flag))); })+
                if rest != 0 { names.entry(&format_args!("{rest:#x}")); }
                names.finish()
            }
        }
    };
}

flags! {
    /// What is special about a property; the bits are those of model files, and unknown bits are kept.
    PropertyFlags {
        /// The object's id.
        ID = 1,
        /// In languages that part primitives from objects: the object form.
        NON_PRIMITIVE = 2,
        /// Null is refused.
        NOT_NULL = 4,
        /// Kept in an index.
        INDEXED = 8,
        /// No two objects share a value.
        UNIQUE = 32,
        /// Ids grow and gaps are never filled.
        ID_MONOTONIC_SEQUENCE = 64,
        /// The application may choose ids.
        ID_SELF_ASSIGNABLE = 128,
        /// Null is left out of the index.
        INDEX_PARTIAL_SKIP_NULL = 256,
        /// Zero is left out of the index.
        INDEX_PARTIAL_SKIP_ZERO = 512,
        /// Not a field of the application's type.
        VIRTUAL = 1024,
        /// The index holds 32-bit hashes.
        INDEX_HASH = 2048,
        /// The index holds 64-bit hashes.
        INDEX_HASH64 = 4096,
        /// Integers are unsigned.
        UNSIGNED = 8192,
        /// A date that accompanies the id.
        ID_COMPANION = 16384,
        /// A put that clashes replaces the other object.
        UNIQUE_ON_CONFLICT_REPLACE = 32768,
        /// The time from which the object is gone.
        EXPIRATION_TIME = 65536,
        /// Shows the clock of the object's last write; the store writes it, and the policy is at least `object`.
        SYNC_CLOCK = 131_072,
        /// The precedence of the object's last write; the policy is `precedence`.
        SYNC_PRECEDENCE = 262_144,
    }
}

flags! {
    /// What is special about an entity; the bits are those of model files, and unknown bits are kept.
    EntityFlags {
        /// Objects travel to other devices.
        SYNC_ENABLED = 2,
        /// Ids are the same on every device.
        SHARED_GLOBAL_IDS = 4,
    }
}

/// Which of two concurrent writes to an object of this entity wins; the same on all peers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ConflictPolicy {
    /// A put writes the properties that changed; per property, the later write wins.
    #[default]
    Property,
    /// A put writes all properties that its schema knows; per property, the later write wins.
    Object,
    /// As [`ConflictPolicy::Object`], but the write of the higher precedence wins, and of equal ones the later.
    Precedence,
    /// As [`ConflictPolicy::Object`], but the write that reaches the server last wins.
    Arrival,
}

impl ConflictPolicy {
    /// All policies.
    pub const ALL: &[ConflictPolicy] = &[
        ConflictPolicy::Property,
        ConflictPolicy::Object,
        ConflictPolicy::Precedence,
        ConflictPolicy::Arrival,
    ];

    /// The policy's name in model files and in `#[entity(conflict = "...")]`.
    pub fn name(self) -> &'static str {
        match self {
            ConflictPolicy::Property => "property",
            ConflictPolicy::Object => "object",
            ConflictPolicy::Precedence => "precedence",
            ConflictPolicy::Arrival => "arrival",
        }
    }

    /// The policy of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|policy| policy.name() == name)
    }
}

/// How concurrent changes of one property come together; the same on all peers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum MergeKind {
    /// One of the writes stands, by the conflict policy of the entity.
    #[default]
    Latest,
    /// A number to which writers add: everything that was added counts. For Int and Long.
    Counter,
    /// A set whose elements come and go one by one. For StringVector and LongVector.
    Set,
}

impl MergeKind {
    /// The kinds that a property must be given, and that model files name.
    pub const NAMED: &[MergeKind] = &[MergeKind::Counter, MergeKind::Set];

    /// The kind's name in model files; none for [`MergeKind::Latest`], which they leave out.
    pub fn name(self) -> Option<&'static str> {
        match self {
            MergeKind::Latest => None,
            MergeKind::Counter => Some("counter"),
            MergeKind::Set => Some("set"),
        }
    }

    /// The kind of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::NAMED.iter().copied().find(|kind| kind.name() == Some(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_name_types_both_ways() {
        for &ty in PropertyType::ALL {
            assert_eq!(PropertyType::from_number(ty as u8), Some(ty));
        }
        assert_eq!(PropertyType::from_number(14), None);
    }

    #[test]
    fn unknown_flag_bits_are_kept_and_shown() {
        let flags = PropertyFlags(1 | 1 << 30);
        assert!(flags.has(PropertyFlags::ID));
        assert_eq!(format!("{flags:?}"), "{ID, 0x40000000}");
        assert_eq!(flags.without(PropertyFlags::ID).0, 1 << 30);
    }
}
