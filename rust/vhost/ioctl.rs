// SPDX-License-Identifier: GPL-2.0

//! The ioctl interface: which ioctls there are, and the order of their checks.
//!
//! Requests are decoded into typed values before they are executed. Userspace can observe whether
//! the owner or the argument is checked first: for the ioctls of vhost-net itself it is the
//! argument, for those of vhost it is the owner.

use core::mem::size_of;
use kernel::{
    current,
    prelude::*,
    sync::Arc, //
};

use crate::{
    kapi::{
        eventfd::{
            eventfd_file,
            EventFd, //
        },
        nospec::array_index_nospec,
        param,
        thread::ThreadKind,
        uaccess::{
            clear_current,
            read_current,
            write_current, //
        },
    },
    vhost::{
        device::{
            Device,
            State, //
        },
        endpoint::Endpoint,
        queue::Queue,
        request::{
            self,
            optional,
            RingCommand, //
        },
        uapi::{
            self,
            MemoryHeader,
            VringAddr,
            VringFile,
            VringState,
            VringWorker,
            BACKEND_OFFERED, //
        },
    },
    virtqueue::{
        features::{
            self,
            OFFERED, //
        },
        table::MemoryRegion, //
    },
};

/// The number of words of an array after which pending signals are checked.
const WORDS_AT_ONCE: u64 = 1 << 12;

/// The argument of an ioctl: an address in the caller's memory.
#[derive(Clone, Copy)]
struct Arg(usize);

impl Arg {
    fn read<const N: usize>(self) -> Result<[u8; N]> {
        read_current(self.0)
    }

    fn read_u64(self) -> Result<u64> {
        Ok(u64::from_ne_bytes(self.read()?))
    }

    fn write(self, bytes: &[u8]) -> Result {
        write_current(self.0, bytes)
    }

    fn write_u64(self, value: u64) -> Result {
        self.write(&value.to_ne_bytes())
    }

    /// Writes the features to a `struct vhost_features_array`, as many words as it has. Words that
    /// the features do not have are zeroed.
    fn write_features(self) -> Result {
        let count = self.read_u64()?;
        let mut next = self.after(uapi::FEATURES_ARRAY_SIZE);
        for (_, word) in (0..count).zip(features::to_words(OFFERED)) {
            next.write_u64(word)?;
            next = next.after(size_of::<u64>());
        }
        let rest = usize::try_from(count).unwrap_or(usize::MAX);
        let rest = rest.saturating_sub(features::WORDS);
        clear_current(next.0, rest.saturating_mul(size_of::<u64>()))
    }

    /// Reads a `struct vhost_features_array`. Words that it does not have are zero.
    ///
    /// # Errors
    ///
    /// `EFAULT`; `EOPNOTSUPP` when a word that the features do not have is not zero; `EINTR` when a
    /// signal is pending and there are many of those.
    fn read_features(self) -> Result<u128> {
        let count = self.read_u64()?;
        let mut words = [0; features::WORDS];
        let mut next = self.after(uapi::FEATURES_ARRAY_SIZE);
        for (_, word) in (0..count).zip(&mut words) {
            *word = next.read_u64()?;
            next = next.after(size_of::<u64>());
        }
        for index in words.len() as u64..count {
            // Userspace determines how many there are.
            if index % WORDS_AT_ONCE == 0 && current!().signal_pending() {
                return Err(EINTR);
            }
            if next.read_u64()? != 0 {
                return Err(EOPNOTSUPP);
            }
            next = next.after(size_of::<u64>());
        }
        Ok(features::from_words(words))
    }

    /// Returns the address `skip` bytes later.
    fn after(self, skip: usize) -> Self {
        Self(self.0.wrapping_add(skip))
    }
}

impl<E: Endpoint> Device<E> {
    /// Executes an ioctl. `open` creates a backend from a file descriptor.
    ///
    /// # Errors
    ///
    /// Those of Documentation/uapi.rst, in the order given there.
    pub(crate) fn ioctl(
        &self,
        cmd: u32,
        arg: usize,
        open: impl FnOnce(i32) -> Result<E::Backend>,
    ) -> Result {
        let arg = Arg(arg);
        match cmd {
            uapi::NET_SET_BACKEND => self.net_set_backend(arg, open),
            uapi::GET_FEATURES => arg.write_u64(OFFERED as u64),
            uapi::SET_FEATURES => self.set_features(arg.read_u64()?.into()),
            uapi::GET_FEATURES_ARRAY => arg.write_features(),
            uapi::SET_FEATURES_ARRAY => self.set_features(arg.read_features()?),
            uapi::GET_BACKEND_FEATURES => arg.write_u64(BACKEND_OFFERED),
            uapi::SET_BACKEND_FEATURES => self.set_backend_features(arg.read_u64()?),
            uapi::SET_OWNER => self.set_owner(),
            uapi::RESET_OWNER => self.reset_owner(),
            _ => self.device_ioctl(cmd, arg),
        }
    }

    fn net_set_backend(&self, arg: Arg, open: impl FnOnce(i32) -> Result<E::Backend>) -> Result {
        let file = VringFile::from_bytes(&arg.read()?);
        let state = self.state().lock();
        state.check_owner()?;
        let index = Self::checked(file.index)?;
        let queue = self.queues().get(index).ok_or(ENOBUFS)?;
        let Some(fd) = optional(file.fd) else {
            return self.detach(&state, index, queue);
        };
        self.set_backend(&state, queue, || open(fd).map(Some))
    }

    /// NET_SET_BACKEND without a backend: also drops the messages of the device. The other queue
    /// runs once and sends its message again.
    fn detach(&self, state: &State, index: usize, queue: &Queue<E>) -> Result {
        let waited = self.messages().clear();
        let result = self.set_backend(state, queue, || Ok(None));
        if result.is_ok() {
            // A run that has ended in the meantime may have sent another one.
            self.messages().forget(index);
        }
        let others = self.queues().iter().zip(waited).enumerate();
        for (_, (other, _)) in others.filter(|(at, (_, waited))| *at != index && *waited) {
            other.state.lock().queue();
        }
        result
    }

    /// Executes the ioctls that concern the whole device, and passes all others on to
    /// [`Self::ring_ioctl`].
    fn device_ioctl(&self, cmd: u32, arg: Arg) -> Result {
        let mut state = self.state().lock();
        let result = match cmd {
            uapi::SET_FORK_FROM_OWNER => Self::set_fork_from_owner(&mut state, arg),
            uapi::GET_FORK_FROM_OWNER => arg.write(&[u8::from(state.kind() == ThreadKind::Task)]),
            uapi::NEW_WORKER
            | uapi::FREE_WORKER
            | uapi::ATTACH_VRING_WORKER
            | uapi::GET_VRING_WORKER
                if state.check_unowned().is_ok() =>
            {
                Err(EINVAL)
            }
            _ => match state.check_owner().map(|_| cmd) {
                Ok(uapi::SET_MEM_TABLE) => self.read_mem_table(&state, arg),
                Ok(uapi::SET_LOG_BASE) => self.read_log_base(arg),
                Ok(uapi::SET_LOG_FD) => self.read_log_fd(arg),
                Ok(uapi::NEW_WORKER) => self.write_new_worker(&mut state, arg),
                Ok(uapi::FREE_WORKER) => self.read_free_worker(&mut state, arg),
                Ok(cmd) => return self.ring_ioctl(&mut state, cmd, arg),
                Err(e) => Err(e),
            },
        };
        self.flush(&state);
        result
    }

    fn set_fork_from_owner(state: &mut State, arg: Arg) -> Result {
        state.check_unowned()?;
        let kind = match arg.read::<1>()? {
            [0] => ThreadKind::Kthread,
            [1] => ThreadKind::Task,
            _ => return Err(EINVAL),
        };
        state.set_kind(kind)
    }

    fn read_mem_table(&self, state: &State, arg: Arg) -> Result {
        let head = MemoryHeader::from_bytes(&arg.read()?);
        let count = request::regions(&head, param::max_mem_regions())?;
        if param::max_iotlb_entries() == 0 {
            return Err(EINVAL);
        }
        let mut regions = KVVec::with_capacity(count, GFP_KERNEL_ACCOUNT)?;
        let mut next = arg.after(MemoryHeader::SIZE);
        for _ in 0..count {
            regions.push(MemoryRegion::from_bytes(&next.read()?), GFP_KERNEL_ACCOUNT)?;
            next = next.after(MemoryRegion::SIZE);
        }
        self.set_mem_table(state, regions)
    }

    /// Sets the log of all queues for which that is possible, even if it fails for one.
    fn read_log_base(&self, arg: Arg) -> Result {
        let base = arg.read_u64()?;
        let set = self
            .queues()
            .each_ref()
            .map(|queue| queue.state.lock().set_log_base(base));
        set.into_iter().collect()
    }

    fn read_log_fd(&self, arg: Arg) -> Result {
        let fd = i32::from_ne_bytes(arg.read()?);
        let log = match optional(fd) {
            Some(fd) => Some(Arc::new(EventFd::from_fd(fd)?, GFP_KERNEL)?),
            None => None,
        };
        for queue in self.queues() {
            let old = core::mem::replace(&mut queue.state.lock().log, log.clone());
            drop(old);
        }
        Ok(())
    }

    fn write_new_worker(&self, state: &mut State, arg: Arg) -> Result {
        let id = self.new_worker(state)?;
        let written = arg.write(&id.to_ne_bytes());
        if written.is_err() {
            self.free_worker(state, id)?;
        }
        written
    }

    fn read_free_worker(&self, state: &mut State, arg: Arg) -> Result {
        let id = u32::from_ne_bytes(arg.read()?);
        self.free_worker(state, id)
    }

    /// Returns the index of a queue, which the caller of an ioctl controls.
    ///
    /// # Errors
    ///
    /// `ENOBUFS` when there is no such queue.
    fn checked(index: u32) -> Result<usize> {
        let index = usize::try_from(index).map_err(|_| ENOBUFS)?;
        if index >= uapi::QUEUES {
            return Err(ENOBUFS);
        }
        // The bounds check alone does not stop speculation.
        Ok(array_index_nospec(index, uapi::QUEUES))
    }

    fn ring_ioctl(&self, state: &mut State, cmd: u32, arg: Arg) -> Result {
        let index = Self::checked(u32::from_ne_bytes(arg.read()?))?;
        let queue = self.queues().get(index).ok_or(ENOBUFS)?;
        match RingCommand::decode(cmd)? {
            RingCommand::SetNum => Self::set_num(queue, arg),
            RingCommand::SetAddr => Self::set_addr(queue, arg),
            RingCommand::SetBase => Self::set_base(queue, arg),
            RingCommand::GetBase => Self::get_base(queue, arg),
            RingCommand::SetKick => {
                let file = VringFile::from_bytes(&arg.read()?);
                let kick = optional(file.fd).map(eventfd_file).transpose()?;
                self.set_kick(state, queue, kick)
            }
            RingCommand::SetCall => {
                let call = Self::read_eventfd(arg)?;
                let old = core::mem::replace(&mut queue.state.lock().call, call);
                drop(old);
                Ok(())
            }
            RingCommand::SetBusyloop => {
                let VringState { num, .. } = VringState::from_bytes(&arg.read()?);
                queue.state.lock().set_busyloop(num);
                Ok(())
            }
            RingCommand::GetBusyloop => {
                // CAST: There are two queues.
                let (index, num) = (index as u32, queue.state.lock().busyloop());
                arg.write(&VringState { index, num }.to_bytes())
            }
            RingCommand::AttachWorker => {
                let VringWorker { num: id, .. } = VringWorker::from_bytes(&arg.read()?);
                self.attach_worker(state, index, id)
            }
            RingCommand::GetWorker => {
                // CAST: There are two queues.
                let (index, num) = (index as u32, self.worker_of(state, index)?);
                arg.write(&VringWorker { index, num }.to_bytes())
            }
            RingCommand::SetErr => {
                let err = Self::read_eventfd(arg)?;
                let old = core::mem::replace(&mut queue.state.lock().err, err);
                drop(old);
                Ok(())
            }
        }
    }

    fn read_eventfd(arg: Arg) -> Result<Option<EventFd>> {
        let file = VringFile::from_bytes(&arg.read()?);
        optional(file.fd).map(EventFd::from_fd).transpose()
    }

    fn set_num(queue: &Queue<E>, arg: Arg) -> Result {
        let mut queue = queue.state.lock();
        if queue.is_attached() {
            return Err(EBUSY);
        }
        let VringState { num, .. } = VringState::from_bytes(&arg.read()?);
        let layout = queue.ring.layout().with_size(num)?;
        queue.ring.set_layout(layout);
        queue.memory.forget_ring();
        Ok(())
    }

    fn set_addr(queue: &Queue<E>, arg: Arg) -> Result {
        let addr = VringAddr::from_bytes(&arg.read()?);
        queue.state.lock().set_addr(&addr)
    }

    fn set_base(queue: &Queue<E>, arg: Arg) -> Result {
        let mut queue = queue.state.lock();
        if queue.is_attached() {
            return Err(EBUSY);
        }
        let VringState { num, .. } = VringState::from_bytes(&arg.read()?);
        queue.ring.set_base(request::base(num)?);
        Ok(())
    }

    fn get_base(queue: &Queue<E>, arg: Arg) -> Result {
        let index = u32::from_ne_bytes(arg.read()?);
        let num = u32::from(queue.state.lock().ring.base());
        arg.write(&VringState { index, num }.to_bytes())
    }
}
