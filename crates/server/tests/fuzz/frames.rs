//! Requests: well formed ones about few things, so that they meet, and ones that are damaged or made up.

use crate::numbers::Numbers;

/// Every command but logins and what changes users that are there.
const CODES: [u32; 43] = [
    1, 10, 12, 20, 21, 22, 31, 32, 33, 39, 41, 42, 43, 100, 101, 102, 120, 121, 122, 200, 201, 202,
    203, 204, 205, 300, 301, 302, 303, 304, 305, 402, 403, 503, 600, 601, 602, 603, 604, 605,
    10_000, 10_001, 10_003,
];

/// Most requests of a busy client.
const BUSY: [u32; 8] = [100, 101, 101, 101, 121, 604, 302, 202];

/// One request, header included.
pub(crate) fn request(numbers: &mut Numbers) -> Vec<u8> {
    match numbers.below(100) {
        0..=2 => {
            [(numbers.below(4) as u32).to_le_bytes(), numbers.bytes(4).try_into().unwrap()].concat()
        }
        3..=5 => {
            let (code, len) = (numbers.next() as u32, numbers.below(300));
            framed(code, &numbers.bytes(len))
        }
        6..=14 => {
            let (code, len) = (numbers.pick(&CODES), numbers.below(200));
            framed(code, &numbers.bytes(len))
        }
        15..=17 => login(numbers),
        18 if numbers.once_in(200) => {
            // Refused for its size, whoever sends it.
            framed(numbers.pick(&[200, 301, 605]), &vec![7; (10 << 20) + 1 + numbers.below(9)])
        }
        18 => framed(101, &vec![1; 60_000 + numbers.below(60_000)]),
        19..=40 => {
            let code = numbers.pick(&CODES);
            let mut payload = payload(code, numbers);
            damage(&mut payload, numbers);
            framed(code, &payload)
        }
        41..=70 => {
            let code = numbers.pick(&BUSY);
            framed(code, &payload(code, numbers))
        }
        _ => {
            let code = numbers.pick(&CODES);
            framed(code, &payload(code, numbers))
        }
    }
}

/// A request with its header.
pub(crate) fn framed(code: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = (payload.len() as u32 + 4).to_le_bytes().to_vec();
    bytes.extend(code.to_le_bytes());
    bytes.extend(payload);
    bytes
}

/// The login of the user every round begins with.
pub(crate) fn root_login() -> Vec<u8> {
    let mut payload = text(crate::USERNAME.as_bytes());
    payload.extend(text(crate::PASSWORD.as_bytes()));
    payload.extend([0; 8]);
    framed(38, &payload)
}

/// A login that fails, most often before a password is looked at.
fn login(numbers: &mut Numbers) -> Vec<u8> {
    let len = numbers.below(60);
    framed(numbers.pick(&[38, 44]), &numbers.bytes(len))
}

fn damage(payload: &mut Vec<u8>, numbers: &mut Numbers) {
    for _ in 0..=numbers.below(3) {
        match numbers.below(4) {
            0 => payload.truncate(numbers.below(payload.len() + 1)),
            1 => {
                let len = numbers.below(20);
                payload.extend(numbers.bytes(len));
            }
            _ if !payload.is_empty() => {
                let at = numbers.below(payload.len());
                payload[at] = numbers.pick(&[0, 1, 2, 255, payload[at] ^ 1, payload[at] ^ 0x80]);
            }
            _ => {}
        }
    }
}

fn text(bytes: &[u8]) -> Vec<u8> {
    [&[bytes.len() as u8], bytes].concat()
}

/// A name out of a few, now and then one that is not allowed.
fn name(numbers: &mut Numbers) -> Vec<u8> {
    match numbers.below(40) {
        0 => vec![0],
        1 => text(&vec![0xff; 1 + numbers.below(255)]),
        _ => text(&[b'a' + numbers.below(6) as u8; 4]),
    }
}

fn identifier(numbers: &mut Numbers) -> Vec<u8> {
    match numbers.below(20) {
        0 => [vec![1, 4], (numbers.edge() as u32).to_le_bytes().to_vec()].concat(),
        1..=4 => vec![1, 4, numbers.below(6) as u8, 0, 0, 0],
        _ => [vec![2], name(numbers)].concat(),
    }
}

fn topic(numbers: &mut Numbers) -> Vec<u8> {
    [identifier(numbers), identifier(numbers)].concat()
}

fn partition(numbers: &mut Numbers) -> Vec<u8> {
    vec![numbers.below(2) as u8, numbers.below(4) as u8, 0, 0, 0]
}

fn consumer(numbers: &mut Numbers) -> Vec<u8> {
    [vec![numbers.pick(&[1, 1, 1, 2, 3])], identifier(numbers)].concat()
}

/// A payload of the layout `code` asks for.
fn payload(code: u32, numbers: &mut Numbers) -> Vec<u8> {
    match code {
        21 => (numbers.edge() as u32).to_le_bytes().to_vec(),
        33 => user(numbers),
        42 => [name(numbers), numbers.edge().to_le_bytes().to_vec()].concat(),
        31 | 200 | 203 | 205 | 301 => identifier(numbers),
        43 | 202 => name(numbers),
        204 => [identifier(numbers), name(numbers)].concat(),
        300 | 303 | 305 | 601 | 10_003 => topic(numbers),
        302 => created_topic(numbers),
        304 => {
            let limits = [vec![1], topic_limits(numbers)].concat();
            [topic(numbers), limits, vec![numbers.below(2) as u8], name(numbers)].concat()
        }
        402 | 403 => [topic(numbers), (numbers.below(4) as u32).to_le_bytes().to_vec()].concat(),
        503 => {
            [topic(numbers), vec![0; 4], (numbers.below(3) as u32).to_le_bytes().to_vec()].concat()
        }
        602 => [topic(numbers), name(numbers)].concat(),
        600 | 603 | 604 | 605 => [topic(numbers), identifier(numbers)].concat(),
        100 => poll(numbers),
        101 => send(numbers),
        102 => [topic(numbers), vec![0; 5]].concat(),
        120 | 122 => [consumer(numbers), topic(numbers), partition(numbers)].concat(),
        121 => {
            let offset = numbers.edge().to_le_bytes().to_vec();
            [consumer(numbers), topic(numbers), partition(numbers), offset].concat()
        }
        10_001 => [created_topic(numbers), vec![numbers.below(3) as u8; 2]].concat(),
        _ => Vec::new(),
    }
}

fn user(numbers: &mut Numbers) -> Vec<u8> {
    // Mostly refused before the password is hashed, which takes its time on purpose.
    let password = if numbers.once_in(50) { "password" } else { "p" };
    [name(numbers), text(password.as_bytes()), vec![1, 0]].concat()
}

fn topic_limits(numbers: &mut Numbers) -> Vec<u8> {
    let mut number = || numbers.pick(&[0, u64::MAX, 1 << 40, 1]).to_le_bytes();
    [number(), number()].concat()
}

fn created_topic(numbers: &mut Numbers) -> Vec<u8> {
    let partitions = (numbers.below(4) as u32).to_le_bytes().to_vec();
    let limits = [vec![1], topic_limits(numbers)].concat();
    [identifier(numbers), partitions, limits, vec![0], name(numbers)].concat()
}

fn poll(numbers: &mut Numbers) -> Vec<u8> {
    let mut payload = [consumer(numbers), topic(numbers), partition(numbers)].concat();
    payload.push(numbers.below(7) as u8);
    payload.extend(numbers.edge().to_le_bytes());
    payload.extend((numbers.below(30) as u32).to_le_bytes());
    payload.push(numbers.below(2) as u8);
    payload
}

fn send(numbers: &mut Numbers) -> Vec<u8> {
    let mut target = topic(numbers);
    match numbers.below(4) {
        0 => target.extend([1, 0]),
        1 => target.extend([3, 3, b'k', b'e', b'y']),
        _ => target.extend([2, 4, numbers.below(4) as u8, 0, 0, 0]),
    }
    let count = 1 + numbers.below(5);
    target.extend((count as u32).to_le_bytes());
    let mut payload = (target.len() as u32).to_le_bytes().to_vec();
    payload.extend(target);
    let sizes: Vec<usize> = (0..count).map(|_| 1 + numbers.below(100)).collect();
    let mut end = 0;
    for size in &sizes {
        end += 64 + *size as u32;
        payload.extend([0; 4]);
        payload.extend(end.to_le_bytes());
        payload.extend([0; 8]);
    }
    for size in sizes {
        payload.extend([0; 8]);
        payload.extend(u128::from(numbers.next() % 100).to_le_bytes());
        payload.extend([0; 24]);
        payload.extend(0u32.to_le_bytes());
        payload.extend((size as u32).to_le_bytes());
        payload.extend([0; 8]);
        payload.extend(numbers.bytes(size));
    }
    payload
}
