//! A QR code as a picture. Small and grey, so it is written without compression: PNG's container, zlib's stored blocks.

use qrcode::{Color, QrCode};

/// Pixels of one module.
const SCALE: usize = 4;
/// Modules around the code that stay light.
const MARGIN: usize = 4;
const STORED_MAX: usize = 65_535;

/// The picture of a text; `None` if it is too long for a code.
pub(super) fn qr(text: &str) -> Option<Vec<u8>> {
    let code = QrCode::new(text.as_bytes()).ok()?;
    let width = code.width();
    let side = (width + 2 * MARGIN) * SCALE;
    let colors = code.to_colors();
    let dark = |x: usize, y: usize| {
        let inside = |at: usize| (at / SCALE).checked_sub(MARGIN).filter(|at| *at < width);
        matches!((inside(x), inside(y)), (Some(x), Some(y)) if colors[y * width + x] == Color::Dark)
    };
    let mut rows = Vec::with_capacity((side + 1) * side);
    for y in 0..side {
        // No filter.
        rows.push(0);
        rows.extend((0..side).map(|x| if dark(x, y) { 0 } else { 255 }));
    }
    Some(png(u32::try_from(side).ok()?, &rows))
}

fn png(side: u32, rows: &[u8]) -> Vec<u8> {
    let mut out = b"\x89PNG\r\n\x1a\n".to_vec();
    // Eight bits of grey.
    let header = [&side.to_be_bytes()[..], &side.to_be_bytes(), &[8, 0, 0, 0, 0]].concat();
    chunk(&mut out, b"IHDR", &header);
    chunk(&mut out, b"IDAT", &stored(rows));
    chunk(&mut out, b"IEND", &[]);
    out
}

fn chunk(out: &mut Vec<u8>, kind: &[u8; 4], data: &[u8]) {
    let length = u32::try_from(data.len()).unwrap_or(u32::MAX);
    out.extend(length.to_be_bytes());
    let body = [&kind[..], data].concat();
    out.extend(&body);
    out.extend(crc32(&body).to_be_bytes());
}

/// RFC 1950 and 1951.
fn stored(data: &[u8]) -> Vec<u8> {
    let mut out = vec![0x78, 0x01];
    let mut blocks = data.chunks(STORED_MAX).peekable();
    while let Some(block) = blocks.next() {
        let length = u16::try_from(block.len()).unwrap_or(u16::MAX);
        out.push(u8::from(blocks.peek().is_none()));
        out.extend(length.to_le_bytes());
        out.extend((!length).to_le_bytes());
        out.extend(block);
    }
    out.extend(adler32(data).to_be_bytes());
    out
}

fn crc32(data: &[u8]) -> u32 {
    let step = |crc: u32, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
    !data.iter().fold(u32::MAX, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), step))
}

fn adler32(data: &[u8]) -> u32 {
    let (low, high) = data.iter().fold((1u32, 0u32), |(low, high), byte| {
        let low = (low + u32::from(*byte)) % 65_521;
        (low, (high + low) % 65_521)
    });
    high << 16 | low
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        assert_eq!(adler32(b"Wikipedia"), 0x11e6_0398);
    }

    #[test]
    fn picture() {
        let picture = qr("otpauth://totp/Funaya:alice@123456789012?secret=ABCDEFGH&issuer=Funaya").unwrap();
        assert!(picture.starts_with(b"\x89PNG\r\n\x1a\n") && picture.ends_with(b"IEND\xae\x42\x60\x82"));
        assert!(picture.len() < 200_000);
        assert_eq!(qr(&"x".repeat(5_000)), None);
    }
}
