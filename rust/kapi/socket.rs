// SPDX-License-Identifier: GPL-2.0

//! A packet socket that owns its file: a tun or tap queue, or a raw `AF_PACKET` socket.
//!
//! C headers: [`include/linux/net.h`](srctree/include/linux/net.h),
//! [`include/linux/if_tun.h`](srctree/include/linux/if_tun.h),
//! [`include/linux/if_tap.h`](srctree/include/linux/if_tap.h)

use core::{
    ffi::c_void,
    mem::size_of,
    ptr::{
        null_mut,
        NonNull, //
    },
};
use kernel::{
    error::from_err_ptr,
    fs::{
        File,
        LocalFile, //
    },
    prelude::*, //
};

use super::{
    ffi,
    iov::IoVec,
    message::{
        message,
        user_iter,
        ITER_DEST,
        ITER_SOURCE, //
    },
    mm::InMm,
    wait::{
        check_files,
        Pollable, //
    },
};

/// Where a socket comes from, and so what it can do.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Packet,
    Tun,
    /// A tun whose packets have no Ethernet header (`IFF_TUN`).
    Layer3,
    Tap,
}

/// A VLAN tag as it stands in a frame.
#[derive(Clone, Copy)]
pub(super) struct VlanTag(pub(super) [u8; ffi::VNR_VLAN_HLEN as usize]);

impl VlanTag {
    /// With the protocol and the control information of a socket buffer.
    fn new(proto: u16, tci: u16) -> Self {
        let ([p0, p1], [t0, t1]) = (proto.to_be_bytes(), tci.to_be_bytes());
        Self([p0, p1, t0, t1])
    }
}

/// A socket that takes and gives whole packets.
///
/// # Invariants
///
/// `sock` belongs to `file` and lives as long as it does; `kind` says what it is. `ring`, if any,
/// is the ring that the tun or tap queue of `file` is filled through, and lives as long.
pub(crate) struct Socket {
    sock: NonNull<ffi::socket>,
    kind: Kind,
    ring: Option<NonNull<ffi::ptr_ring>>,
    file: Pollable,
}

// SAFETY: A socket may be used and released on any thread; its operations lock.
unsafe impl Send for Socket {}
// SAFETY: As above.
unsafe impl Sync for Socket {}

impl Socket {
    /// The socket behind a file descriptor of the caller, which is looked up once.
    ///
    /// # Errors
    ///
    /// `ENOTSOCK` for everything that is not one of the three kinds, also for no file at all.
    pub(crate) fn from_fd(fd: i32) -> Result<Self> {
        check_files().map_err(|_| ENOTSOCK)?;
        let fd = u32::try_from(fd).map_err(|_| ENOTSOCK)?;
        let file = LocalFile::fget(fd).map_err(|_| ENOTSOCK)?;
        let (sock, kind) = Self::find(&file)?;
        // SAFETY: The file is a socket's, a tun's or a tap's. Our code runs on behalf of files of
        // its own, or of none, so this thread is in no `fdget_pos` section on this one.
        let file = unsafe { LocalFile::assume_no_fdget_pos(file) };
        let ring = Self::find_ring(&file, kind);
        // SAFETY: The wait queue of a socket, and that of a tun or tap, which is a part of its
        // socket, is freed after the file's last reference.
        let file = unsafe { Pollable::new(file) };
        // INVARIANT: Both were obtained from `file`.
        Ok(Self {
            sock,
            kind,
            ring,
            file,
        })
    }

    fn find(file: &LocalFile) -> Result<(NonNull<ffi::socket>, Kind)> {
        let raw = file.as_ptr();
        // SAFETY: The file is valid.
        if let Some(sock) = NonNull::new(unsafe { ffi::sock_from_file(raw) }) {
            // SAFETY: The socket is valid as long as its file is.
            let (family, kind) = unsafe {
                (
                    ffi::vnr_sock_family(sock.as_ptr()),
                    ffi::vnr_sock_type(sock.as_ptr()),
                )
            };
            if family != ffi::VNR_AF_PACKET as i32 || kind != ffi::VNR_SOCK_RAW as i32 {
                return Err(ENOTSOCK);
            }
            return Ok((sock, Kind::Packet));
        }
        // SAFETY: The file is valid.
        if let Ok(sock) = from_err_ptr(unsafe { ffi::tun_get_socket(raw) }) {
            let kind = Self::tun_kind(file);
            return NonNull::new(sock).map(|s| (s, kind)).ok_or(ENOTSOCK);
        }
        // SAFETY: The file is valid.
        if let Ok(sock) = from_err_ptr(unsafe { ffi::tap_get_socket(raw) }) {
            return NonNull::new(sock).map(|s| (s, Kind::Tap)).ok_or(ENOTSOCK);
        }
        Err(ENOTSOCK)
    }

    /// Of which kind a tun is. No call within the kernel tells; but asked for the filter of its
    /// frames, to be written where nothing can be, it says at layer 3 that it has none, and
    /// otherwise that nothing can be written there. Sleeps, and takes `rtnl_mutex`.
    fn tun_kind(file: &LocalFile) -> Kind {
        // SAFETY: The file is a tun's and valid; the address is not one of user space.
        let ret = unsafe { ffi::vnr_file_ioctl(file.as_ptr(), ffi::VNR_TUNGETFILTER, usize::MAX) };
        // CAST: An errno.
        if ret as i32 == EINVAL.to_errno() {
            Kind::Layer3
        } else {
            Kind::Tun
        }
    }

    fn find_ring(file: &File, kind: Kind) -> Option<NonNull<ffi::ptr_ring>> {
        let raw = file.as_ptr();
        let ring = match kind {
            Kind::Packet => return None,
            // SAFETY: The file is valid.
            Kind::Tun | Kind::Layer3 => unsafe { ffi::tun_get_tx_ring(raw) },
            // SAFETY: The file is valid.
            Kind::Tap => unsafe { ffi::tap_get_ptr_ring(raw) },
        };
        from_err_ptr(ring).ok().and_then(NonNull::new)
    }

    /// The file that keeps the socket, for waiting on it.
    pub(crate) fn file(&self) -> &Pollable {
        &self.file
    }

    /// Whether packets may be sent in batches: a tun or tap queue without a limit on what is
    /// under way, so that no send ever has to wait. What comes to a tun in a batch is taken for an
    /// Ethernet frame, also at layer 3.
    pub(crate) fn takes_batches(&self) -> bool {
        // SAFETY: Valid by the invariant.
        let sndbuf = unsafe { ffi::vnr_sock_sndbuf(self.sock.as_ptr()) };
        matches!(self.kind, Kind::Tun | Kind::Tap) && sndbuf == i32::MAX
    }

    /// Whether packets may be sent from pages of ours, see [`super::large`].
    pub(crate) fn takes_pages(&self) -> bool {
        self.kind != Kind::Packet
    }

    /// The room that an XDP program on the queue may ask for before each frame, in bytes.
    pub(super) fn headroom(&self) -> usize {
        // SAFETY: Valid by the invariant.
        match unsafe { ffi::vnr_sock_xdp(self.sock.as_ptr()) } {
            true => ffi::VNR_XDP_HEADROOM as usize,
            false => 0,
        }
    }

    pub(super) fn kind(&self) -> Kind {
        self.kind
    }

    pub(super) fn ring(&self) -> Option<NonNull<ffi::ptr_ring>> {
        self.ring
    }

    pub(super) fn raw(&self) -> *mut ffi::socket {
        self.sock.as_ptr()
    }

    /// Sends one packet, gathered from `segs` without their first `skip` bytes; `len` bytes in
    /// all. Does not wait for room.
    ///
    /// `more` says that another packet follows at once.
    ///
    /// # Errors
    ///
    /// Those of the socket. `EAGAIN`: it will be ready for [`Interest::Writable`].
    /// `ENOMEM` and `ENOBUFS`: nobody tells when it is worth another try. `EINVAL` when `segs`
    /// have not that many bytes.
    ///
    /// [`Interest::Writable`]: super::wait::Interest::Writable
    pub(crate) fn send(
        &self,
        _mm: &InMm<'_>,
        segs: &[IoVec],
        skip: usize,
        len: usize,
        more: bool,
    ) -> Result {
        let mut msg = message(null_mut(), 0);
        user_iter(&mut msg.msg_iter, ITER_SOURCE, segs, skip, len)?;
        // SAFETY: The iterator is that of `segs`, and no control data are passed.
        unsafe { self.send_message(&mut msg, len, more) }
    }

    /// Sends the packet that is in `vecs`, `len` bytes in all. `ctl` is a `struct tun_msg_ctl`.
    ///
    /// # Errors
    ///
    /// As [`Self::send`].
    ///
    /// # Safety
    ///
    /// The socket is a tun or tap queue, and what `ctl` points to is valid for the call, and for as
    /// long as the queue may use it. So are the pages of `vecs`, and what is in them does not change
    /// for as long as somebody has a reference that was taken by this call.
    pub(super) unsafe fn send_pages(
        &self,
        vecs: &[ffi::bio_vec],
        len: usize,
        ctl: *mut c_void,
        more: bool,
    ) -> Result {
        let mut msg = message(ctl, size_of::<ffi::tun_msg_ctl>());
        // SAFETY: As many elements as are given, which have `len` bytes.
        unsafe {
            ffi::iov_iter_bvec(
                &mut msg.msg_iter,
                ITER_SOURCE,
                vecs.as_ptr(),
                vecs.len(),
                len,
            )
        };
        // SAFETY: As the caller promises.
        unsafe { self.send_message(&mut msg, len, more) }
    }

    /// # Safety
    ///
    /// The message's iterator and control data are valid for this kind of socket.
    unsafe fn send_message(&self, msg: &mut ffi::msghdr, len: usize, more: bool) -> Result {
        if more {
            msg.msg_flags |= ffi::VNR_MSG_MORE;
        }
        // SAFETY: The socket is valid; the message is, as the caller promises.
        let ret = unsafe { ffi::vnr_sock_sendmsg(self.sock.as_ptr(), msg, len) };
        if ret < 0 {
            return Err(Error::from_errno(ret));
        }
        Ok(())
    }

    /// Receives one packet into `segs` behind their first `skip` bytes. `control` is a ring entry
    /// of this socket, or null. Returns the length of the packet, also where it was cut off.
    ///
    /// # Errors
    ///
    /// Those of the socket; `EFAULT` when `segs` cannot be written.
    ///
    /// # Safety
    ///
    /// `control` is null, or an entry from this socket's own ring that the caller gives up.
    #[inline(always)]
    pub(super) unsafe fn receive(
        &self,
        segs: &[IoVec],
        skip: usize,
        len: usize,
        control: *mut c_void,
    ) -> Result<usize> {
        let mut msg = message(control, 0);
        if let Err(e) = user_iter(&mut msg.msg_iter, ITER_DEST, segs, skip, len) {
            if !control.is_null() {
                // SAFETY: As the caller promises an entry of a ring that is given up.
                unsafe { ffi::tun_ptr_free(control) };
            }
            return Err(e);
        }
        let flags = (ffi::VNR_MSG_DONTWAIT | ffi::VNR_MSG_TRUNC) as i32;
        // SAFETY: Socket and message are valid; the entry is consumed, also on error.
        let ret = unsafe { ffi::vnr_sock_recvmsg(self.sock.as_ptr(), &mut msg, len, flags) };
        usize::try_from(ret).map_err(|_| Error::from_errno(ret))
    }

    /// The length of the packet that waits first in the socket's own queue, with the VLAN tag
    /// that is held beside it, and that tag.
    pub(super) fn first_queued(&self) -> Option<(usize, Option<VlanTag>)> {
        let mut flags = 0;
        let (mut len, mut tag) = (0, None);
        // SAFETY: Valid by the invariant; the packet is only looked at while its queue is locked.
        unsafe {
            ffi::vnr_sock_queue_lock(self.sock.as_ptr(), &mut flags);
            let skb = ffi::vnr_sock_queue_peek(self.sock.as_ptr());
            if !skb.is_null() {
                len = ffi::vnr_skb_len_with_tag(skb);
                if ffi::vnr_skb_vlan_tag_present(skb) {
                    let proto = ffi::vnr_skb_vlan_proto(skb);
                    tag = Some(VlanTag::new(proto, ffi::vnr_skb_vlan_tci(skb)));
                }
            }
            ffi::vnr_sock_queue_unlock(self.sock.as_ptr(), flags);
        }
        let len = usize::try_from(len).ok().filter(|&len| len > 0)?;
        Some((len, tag))
    }
}
