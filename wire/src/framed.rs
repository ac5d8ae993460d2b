//! Pieces in a file, one after the other, each as u32be(length) ‖ bytes (docs/specs/audit.md: exports and archives).

use bytes::Bytes;
use std::io::{self, ErrorKind, Read, Write};

/// Writes a piece behind its length.
///
/// # Errors
/// Those of the writer; [`ErrorKind::InvalidInput`] for 4 GiB or more.
pub fn write_framed(out: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    let length = u32::try_from(bytes.len()).map_err(|_| io::Error::from(ErrorKind::InvalidInput))?;
    out.write_all(&length.to_be_bytes())?;
    out.write_all(bytes)
}

/// The next piece; `None` at the end.
///
/// # Errors
/// Those of the reader; [`ErrorKind::UnexpectedEof`] where it is cut short, [`ErrorKind::InvalidData`] beyond `most` bytes.
pub fn read_framed(from: &mut impl Read, most: usize) -> io::Result<Option<Bytes>> {
    let Some(length) = read_array::<4>(from)? else {
        return Ok(None);
    };
    let length = usize::try_from(u32::from_be_bytes(length)).map_err(|_| io::Error::from(ErrorKind::InvalidData))?;
    if length > most {
        let what = format!("a piece of {length} bytes; at most {most} are possible");
        return Err(io::Error::new(ErrorKind::InvalidData, what));
    }
    let mut bytes = vec![0; length];
    from.read_exact(&mut bytes)?;
    Ok(Some(bytes.into()))
}

/// The next `N` bytes; `None` if there are no more, an error if there are fewer.
///
/// # Errors
/// As [`read_framed`].
pub fn read_array<const N: usize>(from: &mut impl Read) -> io::Result<Option<[u8; N]>> {
    let mut bytes = [0; N];
    let mut filled = 0;
    while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match from.read(rest) {
            Ok(0) if filled == 0 => return Ok(None),
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(count) => filled += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Some(bytes))
}
