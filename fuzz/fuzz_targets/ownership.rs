//! Who owns a tag: sessions that claim, release, are ready, withdraw, wait for their turn, leave,
//! and whose time is up, in any order, beside a model.
#![no_main]

use fdbroker_fuzz::Input;
use fdbroker_fuzz::ownership_model::Model;
use fdbroker_wire::claim::Mode;
use fdbrokerd::fuzzing::Ownership;
use libfuzzer_sys::fuzz_target;

const SESSIONS: usize = 5;

fuzz_target!(|data: &[u8]| {
    let mut input = Input::new(data);
    let (mut real, mut model) = (Ownership::new(SESSIONS), Model::new(SESSIONS));
    let mut step = 0;
    while !input.is_empty() && step < 400 {
        step += 1;
        take_step(&mut input, &mut real, &mut model, step);
        compare(&mut real, &mut model);
    }
});

fn take_step(input: &mut Input<'_>, real: &mut Ownership, model: &mut Model, step: u64) {
    let (what, argument) = (input.byte(), input.byte());
    let session = usize::from(what & 7) % SESSIONS;
    let may = |session: usize| argument & (1 << session) != 0;
    // Who waits for its turn asks nothing else.
    let what = if real.waits(session) && what >> 3 < 26 { 28 << 3 } else { what };
    match what >> 3 {
        0..4 => assert_eq!(real.turn(session), model.turn(session, step)),
        4..13 => {
            let mode = [Mode::Live, Mode::Quiesced, Mode::Again][usize::from(argument % 3)];
            let settle = argument & 0x80 != 0;
            let claimed = real.claim(session, mode, settle);
            let number = claimed.map_or(0, |(number, _)| number);
            let state = model.claim(session, number, mode, settle);
            assert_eq!(claimed.map(|(_, state)| state), state);
        }
        13..16 => {
            let to = (argument > 0).then(|| i32::from(argument));
            assert_eq!(real.release(session, to), model.release(session, to));
        }
        16..22 => assert_eq!(real.ready(session), model.ready(session)),
        22..26 => assert_eq!(real.withdraw(session, may), model.withdraw(session, may)),
        26..28 => {
            real.end(session, may);
            model.end(session, may);
        }
        28..30 => {
            let told: Vec<_> =
                real.events(session).iter().map(|event| (event.what, event.claim)).collect();
            assert_eq!(told, model.events(session));
        }
        _ => match real.expire() {
            Some(number) => assert!(model.expire(number), "the time of {number} was up"),
            None => assert!(!model.is_timed(), "no time was up"),
        },
    }
}

fn compare(real: &mut Ownership, model: &mut Model) {
    assert_eq!(real.owner(), model.owner(), "the owner");
    for session in 0..SESSIONS {
        assert_eq!(real.has_turn(session), model.has_turn(session), "the turn of {session}");
        assert_eq!(real.waits(session), model.waits(session), "that {session} waits");
        assert!(model.owner().is_some() || !model.waits(session), "{session} waits for nobody");
        assert_eq!(real.is_granted(session), model.is_granted(session), "granted to {session}");
        assert_eq!(real.is_fenced(session), model.is_fenced(session), "fenced for {session}");
        assert_eq!(real.is_overtaken(session), model.is_overtaken(session), "lost by {session}");
    }
}
