//! How examples are changed.

use funaya_testkit::Dice;

/// Longer than what the doors let in for most parsers; what is longer only takes time.
const CASE_BYTES_MAX: usize = 1 << 20;
const CHANGES_MAX: u64 = 6;
const NASTY: [&str; 24] = [
    "",
    "\0",
    "\u{7f}",
    "\u{fffd}",
    "\u{feff}",
    "\u{202e}",
    "ß",
    "İ",
    "😀",
    "\\u0000",
    "\\ud800",
    "%00",
    "%ff",
    "%",
    "-1",
    "0",
    "1e999",
    "18446744073709551616",
    "9223372036854775807",
    "null",
    "true",
    "\"",
    "\r\n",
    " ",
];
const BRACKETS: [(&str, &str); 6] =
    [("[", "]"), ("{\"a\":", "}"), ("(", ")"), ("<a>", "</a>"), ("\"", "\""), ("%25", "")];

/// One case: an example with a few changes.
pub(super) fn case(dice: &mut Dice, seeds: &[Vec<u8>], words: &[&str]) -> Vec<u8> {
    let mut case = pick(dice, seeds).cloned().unwrap_or_default();
    // Half of them with a single change, so that many are still taken.
    for _ in 0..=dice.below(2) * dice.below(CHANGES_MAX) {
        change(dice, &mut case, seeds, words);
        case.truncate(CASE_BYTES_MAX);
    }
    case
}

fn change(dice: &mut Dice, case: &mut Vec<u8>, seeds: &[Vec<u8>], words: &[&str]) {
    match dice.below(40) {
        0..=3 => flip(dice, case),
        4..=6 => replace(dice, case, &[]),
        7..=10 => {
            // A piece of it once more, somewhere else.
            let piece = case[range(dice, case.len())].to_vec();
            insert(dice, case, &piece);
        }
        11..=14 => splice(dice, case, seeds),
        15..=20 => {
            let word = word(dice, words);
            insert(dice, case, word.as_bytes());
        }
        21..=24 => {
            let word = word(dice, words);
            replace(dice, case, word.as_bytes());
        }
        25..=35 => requote(dice, case, seeds, words),
        36 => nest(dice, case),
        37 => run(dice, case, words),
        38 => case.truncate(at(dice, case.len())),
        _ => {
            let noise = dice.below(64) as usize;
            let noise = dice.bytes(noise);
            insert(dice, case, &noise);
        }
    }
}

fn pick<'a, T>(dice: &mut Dice, all: &'a [T]) -> Option<&'a T> {
    all.get(dice.below(all.len() as u64) as usize)
}

fn word<'a>(dice: &mut Dice, words: &[&'a str]) -> &'a str {
    let from = if dice.below(4) == 0 { &NASTY[..] } else { words };
    pick(dice, from).copied().unwrap_or_default()
}

/// A place between bytes.
fn at(dice: &mut Dice, length: usize) -> usize {
    dice.below(length as u64 + 1) as usize
}

/// Short ones most often.
fn range(dice: &mut Dice, length: usize) -> std::ops::Range<usize> {
    let start = at(dice, length);
    let longest = if dice.below(4) == 0 { length } else { 24 };
    start..(start + at(dice, longest)).min(length)
}

fn insert(dice: &mut Dice, case: &mut Vec<u8>, piece: &[u8]) {
    let at = at(dice, case.len());
    case.splice(at..at, piece.iter().copied());
}

fn replace(dice: &mut Dice, case: &mut Vec<u8>, piece: &[u8]) {
    let range = range(dice, case.len());
    case.splice(range, piece.iter().copied());
}

fn flip(dice: &mut Dice, case: &mut [u8]) {
    let at = at(dice, case.len().saturating_sub(1));
    if let Some(byte) = case.get_mut(at) {
        *byte ^= 1 << dice.below(8);
    }
}

/// The head of this and the tail of another example.
fn splice(dice: &mut Dice, case: &mut Vec<u8>, seeds: &[Vec<u8>]) {
    let Some(other) = pick(dice, seeds) else { return };
    case.truncate(at(dice, case.len()));
    case.extend_from_slice(&other[at(dice, other.len())..]);
}

/// Another word, or one of an example, between two marks, so that the grammar around it stays whole.
fn requote(dice: &mut Dice, case: &mut Vec<u8>, seeds: &[Vec<u8>], words: &[&str]) {
    let (here, there) = (between(dice, case), pick(dice, seeds));
    let other = there.map(|seed| &seed[between(dice, seed)]).filter(|_| dice.below(3) == 0);
    let piece = other.unwrap_or_else(|| word(dice, words).as_bytes());
    case.splice(here, piece.iter().copied());
}

/// What stands between two neighbouring marks.
fn between(dice: &mut Dice, text: &[u8]) -> std::ops::Range<usize> {
    let marks: Vec<usize> = (0..text.len()).filter(|i| b"\"&=/:.,;\n".contains(&text[*i])).collect();
    let first = dice.below(marks.len().saturating_sub(1) as u64) as usize;
    match marks[first..] {
        [start, end, ..] => start + 1..end,
        _ => 0..0,
    }
}

/// Brackets around a piece, many deep.
fn nest(dice: &mut Dice, case: &mut Vec<u8>) {
    let (open, close) = *pick(dice, &BRACKETS).unwrap_or(&BRACKETS[0]);
    let most = 1 << dice.below(15);
    let depth = at(dice, most);
    let range = range(dice, case.len());
    let piece = [open.repeat(depth).as_bytes(), &case[range.clone()], close.repeat(depth).as_bytes()].concat();
    case.splice(range, piece);
}

/// A long run of a word, or of the case itself.
fn run(dice: &mut Dice, case: &mut Vec<u8>, words: &[&str]) {
    let piece = if dice.below(4) == 0 { case[range(dice, case.len())].to_vec() } else { word(dice, words).into() };
    let most = 1_usize << dice.below(18);
    let count = at(dice, most).min(CASE_BYTES_MAX / piece.len().max(1));
    let piece = piece.repeat(count);
    insert(dice, case, &piece);
}
