//! What a network card does for its kernel: the checksums of TCP and UDP.

/// Of an Ethernet header.
const ETHERNET: usize = 14;
const IPV4: [u8; 2] = [0x08, 0x00];

/// Completes the checksum of a frame; kernels leave it to the card. Other frames stay as they are.
pub(super) fn complete(frame: &mut [u8]) {
    let Some((ethernet, packet)) = frame.split_at_mut_checked(ETHERNET) else { return };
    if ethernet[12..] != IPV4 || packet.len() < 20 {
        return;
    }
    let header = usize::from(packet[0] & 0xf) * 4;
    // Short frames are padded.
    let length = usize::from(u16::from_be_bytes([packet[2], packet[3]]));
    let protocol = packet[9];
    let at = match protocol {
        6 => 16,
        17 => 6,
        _ => return,
    };
    let addresses = sum(&packet[12..20]);
    let Some(segment) = packet.get_mut(header..length).filter(|it| it.len() > at + 1) else {
        return;
    };
    segment[at..at + 2].fill(0);
    let length = u32::try_from(segment.len()).expect("a packet has fewer than 65536 bytes");
    let total = addresses + u32::from(protocol) + length + sum(segment);
    segment[at..at + 2].copy_from_slice(&folded(total).to_be_bytes());
}

/// Of 16-bit words; a last byte is the upper half of one.
fn sum(bytes: &[u8]) -> u32 {
    let words = bytes.chunks(2).map(|word| [word[0], word.get(1).copied().unwrap_or_default()]);
    words.map(|word| u32::from(u16::from_be_bytes(word))).sum()
}

/// The complement of the sum with its carries added (RFC 1071).
fn folded(mut total: u32) -> u16 {
    while total > 0xffff {
        total = (total & 0xffff) + (total >> 16);
    }
    !u16::try_from(total).expect("it was folded")
}
