// SPDX-License-Identifier: GPL-2.0

//! The misses of a device, compared with a list.

use proptest::prelude::*;

use crate::{
    cases,
    vhost::misses::Misses,
    virtqueue::iotlb::{
        Access,
        Miss, //
    },
};

#[derive(Clone, Copy, Debug)]
enum Step {
    Add(usize, u64),
    Read,
    Forget(usize),
    Lose,
    Resolve(u64, u64),
    Clear,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0usize..3, 0u64..8).prop_map(|(queue, iova)| Step::Add(queue, iova)),
        4 => Just(Step::Read),
        1 => (0usize..3).prop_map(Step::Forget),
        2 => Just(Step::Lose),
        4 => (0u64..8, 1u64..8).prop_map(|(iova, size)| Step::Resolve(iova, size)),
        1 => Just(Step::Resolve(0, u64::MAX)),
        1 => Just(Step::Clear),
    ]
}

proptest! {
    #![proptest_config(cases(4000))]

    #[test]
    fn as_a_list(steps in prop::collection::vec(step(), 0..40)) {
        let mut misses = Misses::default();
        // Queue, address, whether it was read, and its number; in the order in which they were
        // added.
        let mut list: Vec<(usize, u64, bool, usize)> = Vec::new();
        let (mut last, mut read, mut count) = (None, None, 0);
        for step in steps {
            match step {
                Step::Add(queue, iova) => {
                    let new = queue < 2 && !list.iter().any(|w| w.0 == queue);
                    let miss = Miss { iova, access: Access::Write };
                    prop_assert_eq!(misses.add(queue, miss, true), new);
                    if new {
                        list.push((queue, iova, false, count));
                        count += 1;
                    }
                }
                Step::Read => {
                    let got = misses.read().map(|(asked, bytes)| {
                        last = Some(asked);
                        (asked.queue, u64::from(bytes[8]))
                    });
                    let next = list.iter_mut().find(|w| !w.2);
                    prop_assert_eq!(got, next.as_ref().map(|w| (w.0, w.1)));
                    if let Some(next) = next {
                        next.2 = true;
                        read = Some(*next);
                    }
                }
                // The message that was read last, unless its queue has sent another one since.
                Step::Lose => {
                    if let Some(asked) = last {
                        misses.lose(&asked);
                        list.retain(|w| Some(w.3) != read.map(|r| r.3));
                    }
                }
                Step::Forget(queue) => {
                    misses.forget(queue);
                    list.retain(|w| w.0 != queue);
                }
                Step::Resolve(iova, size) => {
                    let inside = |w: &(usize, u64, bool, usize)| w.2 && w.1 >= iova && w.1 - iova < size;
                    let mut want = [false; 2];
                    for wanted in list.iter().filter(|w| inside(w)) {
                        want[wanted.0] = true;
                    }
                    list.retain(|w| !inside(w));
                    prop_assert_eq!(misses.resolve(iova, size), want);
                }
                Step::Clear => {
                    let waited = [0, 1].map(|queue| list.iter().any(|w| w.0 == queue));
                    prop_assert_eq!(misses.clear(), waited);
                    list.clear();
                }
            }
            prop_assert_eq!(misses.has_unread(), list.iter().any(|w| !w.2));
        }
    }
}
