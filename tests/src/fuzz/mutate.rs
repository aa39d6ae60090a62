//! Changes of an input: of bits and bytes, of words, and by parts of other inputs.

use rand::Rng;
use rand::rngs::StdRng;

/// Longest input, in bytes.
const INPUT_BYTES_MAX: usize = 64 << 10;

/// Bytes and texts at which parsers go wrong.
const INTERESTING: &[&[u8]] = &[
    b"\0",
    b"\xff",
    b"\xc3\x28",
    b"\xed\xa0\x80",
    b"\xf0\x9f\x98\x80",
    b"\xef\xbb\xbf",
    b"\r\n",
    b"\n\n",
    b"\r\n\r\n",
    b"\t",
    b"\x7f",
    b"\\u0000",
    b"\\ud800",
    b"-1",
    b"0",
    b"18446744073709551616",
    b"9223372036854775808",
    b"1e400",
    b"-0",
    b"NaN",
    b"null",
    b"true",
    b"[]",
    b"{}",
    b"\"",
    b"\"\"",
    b"\"\"\"",
    b"'",
    b"%00",
    b"%",
    b"%ff",
    b"$$",
    b"--",
    b"/*",
    b";",
    b"=",
    b"A",
    b"AAAAAAAA",
];

/// Changes an input, usually at a few places.
pub(super) fn mutate(input: &mut Vec<u8>, others: &[Vec<u8>], words: &[&str], rng: &mut StdRng) {
    let changes = 1 << rng.random_range(0..4);
    for _ in 0..changes {
        change(input, others, words, rng);
    }
    input.truncate(INPUT_BYTES_MAX);
}

fn change(input: &mut Vec<u8>, others: &[Vec<u8>], words: &[&str], rng: &mut StdRng) {
    let at = rng.random_range(0..=input.len());
    let upto = rng.random_range(at..=input.len().min(at + 64));
    match rng.random_range(0..9) {
        0 if at < input.len() => input[at] ^= 1 << rng.random_range(0..8),
        1 if at < input.len() => input[at] = rng.random(),
        2 => drop(input.drain(at..upto)),
        3 => {
            let part = input[at..upto].to_vec();
            let times_max = if rng.random_bool(0.1) { 300 } else { 4 };
            for _ in 0..rng.random_range(1..=times_max) {
                insert(input, at, &part);
            }
        }
        4 => insert(input, at, INTERESTING[rng.random_range(0..INTERESTING.len())]),
        5 | 6 if !words.is_empty() => insert(input, at, words[rng.random_range(0..words.len())].as_bytes()),
        7 => {
            let other = &others[rng.random_range(0..others.len())];
            let from = rng.random_range(0..=other.len());
            input.truncate(at);
            input.extend_from_slice(&other[from..]);
        }
        _ => {
            let other = &others[rng.random_range(0..others.len())];
            let from = rng.random_range(0..=other.len());
            let to = rng.random_range(from..=other.len().min(from + 64));
            insert(input, at, &other[from..to]);
        }
    }
}

fn insert(input: &mut Vec<u8>, at: usize, part: &[u8]) {
    if input.len() + part.len() <= INPUT_BYTES_MAX {
        input.splice(at..at, part.iter().copied());
    }
}
