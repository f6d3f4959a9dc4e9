// SPDX-License-Identifier: Apache-2.0
//! How C's enumerations and structures are written down, for these types and those of the runtime.

/// A C enumeration: a transparent integer with constants.
#[macro_export]
macro_rules! c_enum {
    ($name:ident: $repr:ty { $($constant:ident = $value:literal,)* }) => {
        #[derive(Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(transparent)]
        pub struct $name(pub $repr);

        impl $name {
            $(pub const $constant: Self = Self($value);)*

            /// The constant's name in the header; the first one where several share the value.
            pub const fn name(self) -> Option<&'static str> {
                #[allow(unreachable_patterns, reason = "the header lists some values twice")]
                match self.0 {
                    $($value => Some(stringify!($constant)),)*
                    _ => None,
                }
            }

            /// [`Self::name`] for C.
            pub const fn c_name(self) -> Option<&'static core::ffi::CStr> {
                #[allow(unreachable_patterns, reason = "the header lists some values twice")]
                match self.0 {
                    $($value => {
                        let name = concat!(stringify!($constant), "\0").as_bytes();
                        match core::ffi::CStr::from_bytes_with_nul(name) {
                            Ok(name) => Some(name),
                            Err(_) => None,
                        }
                    })*
                    _ => None,
                }
            }
        }

        impl $crate::Scalar for $name {
            fn to_word(self) -> u64 {
                $crate::Scalar::to_word(self.0)
            }

            fn from_word(word: u64) -> Option<Self> {
                $crate::Scalar::from_word(word).map(Self)
            }
        }

        impl core::fmt::Debug for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                match self.name() {
                    Some(name) => f.write_str(name),
                    None => write!(f, "{}({})", stringify!($name), self.0),
                }
            }
        }
    };
}

/// Checks the size and alignment of a structure in bytes, and where its fields are.
#[macro_export]
macro_rules! layout {
    ($name:ident, $size:literal, $align:literal, $($field:ident = $offset:literal),*) => {
        const _: () = {
            assert!(size_of::<$name>() == $size);
            assert!(align_of::<$name>() == $align);
            $(assert!(core::mem::offset_of!($name, $field) == $offset);)*
        };
    };
}
