// SPDX-License-Identifier: Apache-2.0
//! `CUDA_VISIBLE_DEVICES`: which devices of a machine a program sees, and in which order (CUDA C++
//! Programming Guide, "CUDA Environment Variables").

/// The variable's name.
pub const VISIBLE_DEVICES: &str = "CUDA_VISIBLE_DEVICES";

/// The indices of the visible devices, in their new order. `uuids` are those of all devices, in
/// their order without the variable. A list names devices by index, or by UUID as
/// `GPU-8932f937-d72c-…`, of which the beginning is enough if it is unique. Only the devices before
/// the first name that means none, or one of those before it, are visible.
pub fn visible_devices(list: &str, uuids: &[[u8; 16]]) -> Vec<usize> {
    let mut visible = Vec::new();
    for name in list.split(',') {
        match find(name.trim(), uuids) {
            Some(index) if !visible.contains(&index) => visible.push(index),
            _ => break,
        }
    }
    visible
}

/// A device as a list names it: `GPU-` and its UUID.
pub fn device_name(uuid: &[u8; 16]) -> String {
    let mut text = "GPU".to_owned();
    for part in [
        &uuid[..4],
        &uuid[4..6],
        &uuid[6..8],
        &uuid[8..10],
        &uuid[10..],
    ] {
        text.push('-');
        text.extend(part.iter().map(|byte| format!("{byte:02x}")));
    }
    text
}

fn find(name: &str, uuids: &[[u8; 16]]) -> Option<usize> {
    const PREFIX: &str = "GPU-";
    if name
        .get(..PREFIX.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(PREFIX))
    {
        let name = name.to_ascii_lowercase();
        let is_meant = |uuid: &[u8; 16]| device_name(uuid).to_ascii_lowercase().starts_with(&name);
        let mut meant = (0..uuids.len()).filter(|index| is_meant(&uuids[*index]));
        return match (meant.next(), meant.next()) {
            (Some(index), None) => Some(index),
            _ => None,
        };
    }
    let index = name.parse::<usize>().ok()?;
    (index < uuids.len()).then_some(index)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uuids() -> Vec<[u8; 16]> {
        [0x10, 0x11, 0x20].map(|first| [first; 16]).to_vec()
    }

    #[test]
    fn lists_are_read_as_the_driver_does() {
        for (list, visible) in [
            ("0,1,2", &[0, 1, 2][..]),
            ("2, 0", &[2, 0]),
            ("1,-1,2", &[1]),
            ("1,3,2", &[1]),
            ("1,1", &[1]),
            ("", &[]),
            ("none", &[]),
            ("GPU-20", &[2]),
            ("gpu-11,0", &[1, 0]),
            ("GPU-1,0", &[]),
            ("GPU-", &[]),
            ("MIG-GPU-20/0/0", &[]),
        ] {
            assert_eq!(visible_devices(list, &uuids()), visible, "{list:?}");
        }
        let name = device_name(&uuids()[1]);
        assert_eq!(visible_devices(&name, &uuids()), [1]);
        assert!(visible_devices("0", &[]).is_empty());
    }

    #[test]
    fn uuids_are_written_as_nvidia_does() {
        let uuid = std::array::from_fn(|index| index as u8 * 17);
        let text = device_name(&uuid);
        assert_eq!(text, "GPU-00112233-4455-6677-8899-aabbccddeeff");
    }
}
