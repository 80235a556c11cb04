//! Numbers as little-endian bytes. Whoever reads asks for a count of elements, and memory is taken only for
//! elements that are there.

use crate::error::LoadError;

/// A number with one form in bytes.
pub(crate) trait Element: Copy {
    /// Bytes of one.
    const SIZE: usize;
    /// Appends the number.
    fn write(self, out: &mut Vec<u8>);
    /// All numbers in a slice whose length is a multiple of [`Element::SIZE`].
    fn read_all(bytes: &[u8]) -> Vec<Self>;
    /// The number in a slice of [`Element::SIZE`] bytes.
    fn read(bytes: &[u8]) -> Option<Self>;
}

macro_rules! elements {
    ($($kind:ty),*) => {$(
        impl Element for $kind {
            const SIZE: usize = size_of::<$kind>();
            fn write(self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_le_bytes());
            }
            fn read_all(bytes: &[u8]) -> Vec<Self> {
                let (values, _) = bytes.as_chunks();
                values.iter().map(|value| Self::from_le_bytes(*value)).collect()
            }
            fn read(bytes: &[u8]) -> Option<Self> {
                bytes.try_into().ok().map(Self::from_le_bytes)
            }
        }
    )*};
}

elements!(u8, u16, u32, u64, i64, f32, f64);

/// Bytes that grow.
#[derive(Debug, Default)]
pub(crate) struct Writer(Vec<u8>);

impl Writer {
    pub(crate) fn one(&mut self, value: impl Element) {
        value.write(&mut self.0);
    }

    /// Elements without their number.
    pub(crate) fn many<T: Element>(&mut self, values: impl IntoIterator<Item = T>) {
        for value in values {
            value.write(&mut self.0);
        }
    }

    /// A number of elements; the limits on a model keep all of them below 2^32.
    pub(crate) fn count(&mut self, count: usize) {
        self.one(count as u32);
    }

    /// Elements after their number.
    pub(crate) fn list<T: Element>(&mut self, values: &[T]) {
        self.count(values.len());
        self.many(values.iter().copied());
    }

    /// The place of one of some things in their list.
    pub(crate) fn choice<T: PartialEq>(&mut self, own: &T, all: &[T]) {
        let place = all.iter().position(|other| other == own);
        self.one(place.unwrap_or(all.len()) as u8);
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

/// Bytes that are read from the beginning on.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
    len: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self {
            rest: bytes,
            len: bytes.len(),
        }
    }

    /// What was not read yet.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// An error here.
    pub(crate) fn fault(&self, reason: impl AsRef<str>) -> LoadError {
        LoadError::MalformedPacked {
            reason: format!("byte {}: {}", self.len - self.rest.len(), reason.as_ref()),
        }
    }

    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [u8], LoadError> {
        let Some((taken, rest)) = self.rest.split_at_checked(count) else {
            return Err(self.fault(format!(
                "{count} bytes are needed, and {} are left",
                self.rest.len()
            )));
        };
        self.rest = rest;
        Ok(taken)
    }

    pub(crate) fn one<T: Element>(&mut self) -> Result<T, LoadError> {
        let bytes = self.take(T::SIZE)?;
        T::read(bytes).ok_or_else(|| self.fault("no number"))
    }

    pub(crate) fn many<T: Element>(&mut self, count: usize) -> Result<Vec<T>, LoadError> {
        let bytes = self.take(count.saturating_mul(T::SIZE))?;
        Ok(T::read_all(bytes))
    }

    /// A number of elements.
    pub(crate) fn count(&mut self) -> Result<usize, LoadError> {
        self.one::<u32>().map(|count| count as usize)
    }

    /// Elements after their number.
    pub(crate) fn list<T: Element>(&mut self) -> Result<Vec<T>, LoadError> {
        let count = self.count()?;
        self.many(count)
    }

    /// One of some things, by its place in their list.
    pub(crate) fn choice<T: Copy>(&mut self, what: &str, all: &[T]) -> Result<T, LoadError> {
        let place: u8 = self.one()?;
        all.get(usize::from(place))
            .copied()
            .ok_or_else(|| self.fault(format!("{place} is no {what}")))
    }
}
