//! First in, first out, for queues that mostly hold nothing or one thing.

use std::collections::VecDeque;

/// A queue whose first item takes no memory of its own: no line of it that is touched besides.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Queue<T> {
    /// Something, unless there is nothing at all.
    first: Option<T>,
    more: VecDeque<T>,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self { first: None, more: VecDeque::new() }
    }
}

impl<T> Queue<T> {
    pub(super) fn len(&self) -> usize {
        usize::from(self.first.is_some()) + self.more.len()
    }

    pub(super) fn push(&mut self, item: T) {
        match &self.first {
            None => self.first = Some(item),
            Some(_) => self.more.push_back(item),
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.first.iter().chain(&self.more)
    }

    /// Takes everything, in order.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = T> {
        self.first.take().into_iter().chain(self.more.drain(..))
    }

    /// Gives memory back of which it takes much.
    pub(super) fn shrink(&mut self) {
        const KEPT: usize = 64;
        if self.more.capacity() > KEPT {
            self.more.shrink_to(KEPT);
        }
    }

    /// Drops the items that `stays` is false for.
    pub(super) fn retain(&mut self, mut stays: impl FnMut(&T) -> bool) {
        if self.first.as_ref().is_some_and(|first| !stays(first)) {
            self.first = None;
        }
        self.more.retain(stays);
        if self.first.is_none() {
            self.first = self.more.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_keeps_the_order_whatever_is_taken_out() {
        for gone in 0..1_u32 << 4 {
            let mut queue = Queue::default();
            (0..4).for_each(|item| queue.push(item));
            let stays = |item: &u32| gone & (1 << item) == 0;
            queue.retain(stays);
            queue.push(9);
            let expected: Vec<u32> = (0..4).filter(stays).chain([9]).collect();
            assert_eq!((queue.len(), queue.iter().copied().collect()), (expected.len(), expected.clone()));
            assert_eq!(queue.drain().collect::<Vec<_>>(), expected);
            assert_eq!(queue.len(), 0);
        }
    }
}
