//! Requests as bytes, right or wrong: nothing here refuses to write nonsense.

/// Where a deposit lies, as the numbers on the wire: also those that no slot has.
pub type Place = (i16, i32);

/// A GET.
pub fn get(place: Place) -> Vec<u8> {
    slot(6, place)
}

/// A DEL.
pub fn del(place: Place) -> Vec<u8> {
    slot(2, place)
}

/// A TAG.
pub fn tag(tag: i16) -> Vec<u8> {
    [4i16.to_ne_bytes(), tag.to_ne_bytes()].concat()
}

/// An ADD that says the truth about its payload.
pub fn add(place: Place, ufd: i32, payload: &[u8]) -> Vec<u8> {
    add_announcing(place, ufd, i32::try_from(payload.len()).unwrap(), payload)
}

/// An ADD that announces any payload size.
pub fn add_announcing(place: Place, ufd: i32, nob: i32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = slot(1, place);
    bytes.extend_from_slice(&ufd.to_ne_bytes());
    bytes.extend_from_slice(&nob.to_ne_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// A HEL.
pub fn hello() -> Vec<u8> {
    hello_for(15)
}

/// HEL, for these features.
pub fn hello_for(features: i32) -> Vec<u8> {
    [&[0; 4][..], &features.to_ne_bytes(), &[0; 8]].concat()
}

/// A message of version 2.
pub fn extended(op: i16, body: &[u8]) -> Vec<u8> {
    let length = i32::try_from(body.len()).unwrap();
    [&op.to_ne_bytes()[..], &0i16.to_ne_bytes(), &length.to_ne_bytes(), body].concat()
}

/// CLAIM of a tag: in this mode, for so many milliseconds.
pub fn claim(tag: i16, mode: i16, time: i32) -> Vec<u8> {
    let (tag, mode) = (tag.to_ne_bytes(), mode.to_ne_bytes());
    extended(80, &[&tag[..], &mode, &time.to_ne_bytes()].concat())
}

/// RELEASE of a tag.
pub fn release(tag: i16) -> Vec<u8> {
    of_tag(82, tag)
}

/// RELEASE of a tag to one claim.
pub fn release_to(tag: i16, claim: i32) -> Vec<u8> {
    extended(82, &[&tag.to_ne_bytes()[..], &[0; 2], &claim.to_ne_bytes()].concat())
}

/// READY, to own a tag.
pub fn ready(tag: i16) -> Vec<u8> {
    of_tag(83, tag)
}

/// WITHDRAW from a tag.
pub fn withdraw(tag: i16) -> Vec<u8> {
    of_tag(84, tag)
}

fn of_tag(op: i16, tag: i16) -> Vec<u8> {
    extended(op, &[tag.to_ne_bytes(), [0; 2]].concat())
}

fn slot(op: i16, (tag, index): Place) -> Vec<u8> {
    let mut bytes = op.to_ne_bytes().to_vec();
    bytes.extend_from_slice(&tag.to_ne_bytes());
    bytes.extend_from_slice(&index.to_ne_bytes());
    bytes
}
