// SPDX-License-Identifier: Apache-2.0
//! Names of Services: just as much of DNS (RFC 1035) as a C library asks for.

use std::net::Ipv4Addr;

const HEADER_BYTES: usize = 12;
const TYPE_A: u16 = 1;
/// Seconds that an answer may be kept.
const KEEP: [u8; 4] = [0, 0, 0, 1];
const NO_SUCH_NAME: u8 = 3;

/// The answer to a query with one question, or nothing where it is none.
pub(crate) fn answer(query: &[u8], find: impl FnOnce(&str) -> Option<Ipv4Addr>) -> Option<Vec<u8>> {
    let (name, end) = name(query)?;
    let kind = u16::from_be_bytes(query.get(end..end + 2)?.try_into().ok()?);
    let question = query.get(HEADER_BYTES..end + 4)?;
    let address = find(&name);
    let is_answered = kind == TYPE_A && address.is_some();
    let code = if address.is_some() { 0 } else { NO_SUCH_NAME };
    let mut reply = query.get(..2)?.to_vec();
    // A response to a recursive query, with one question.
    reply.extend([
        0x81,
        0x80 | code,
        0,
        1,
        0,
        u8::from(is_answered),
        0,
        0,
        0,
        0,
    ]);
    reply.extend(question);
    if let (TYPE_A, Some(address)) = (kind, address) {
        // The name is the question's; class IN; four bytes.
        reply.extend([0xc0, 12, 0, 1, 0, 1]);
        reply.extend(KEEP);
        reply.extend([0, 4]);
        reply.extend(address.octets());
    }
    Some(reply)
}

/// The name of the question, and where it ends.
fn name(query: &[u8]) -> Option<(String, usize)> {
    let mut at = HEADER_BYTES;
    let mut labels = Vec::new();
    loop {
        let length = usize::from(*query.get(at)?);
        at += 1;
        if length == 0 {
            return Some((labels.join("."), at));
        }
        let label = query.get(at..at + length)?;
        labels.push(String::from_utf8_lossy(label).to_ascii_lowercase());
        at += length;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(kind: u8) -> Vec<u8> {
        let mut bytes = vec![7, 8, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        bytes.extend(b"\x01A\x02bc\x00");
        bytes.extend([0, kind, 0, 1]);
        bytes
    }

    #[test]
    fn a_known_name_has_an_address() {
        let find = |name: &str| (name == "a.bc").then_some(Ipv4Addr::new(1, 2, 3, 4));
        let reply = answer(&query(1), find).expect("a query");
        assert_eq!(reply[..4], [7, 8, 0x81, 0x80]);
        assert_eq!(reply[7], 1);
        assert!(reply.ends_with(&[0, 4, 1, 2, 3, 4]));
        let reply = answer(&query(28), find).expect("a query");
        assert_eq!((reply[3], reply[7]), (0x80, 0));
    }

    #[test]
    fn others_do_not_exist() {
        let reply = answer(&query(1), |_| None).expect("a query");
        assert_eq!((reply[3], reply[7]), (0x83, 0));
        assert_eq!(answer(&query(1)[..15], |_| None), None);
    }
}
