// SPDX-License-Identifier: GPL-2.0

//! A packet socket and its file: a tun or tap queue, or a raw `AF_PACKET` socket.
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

/// The kind of a socket, which determines its abilities.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Packet,
    Tun,
    /// A tun whose packets have no Ethernet header (`IFF_TUN`).
    Layer3,
    Tap,
}

/// A VLAN tag as it is stored in a frame.
#[derive(Clone, Copy)]
pub(super) struct VlanTag(pub(super) [u8; ffi::VNR_VLAN_HLEN as usize]);

impl VlanTag {
    /// Creates a tag from the protocol and the control information of a socket buffer.
    fn new(proto: u16, tci: u16) -> Self {
        let ([p0, p1], [t0, t1]) = (proto.to_be_bytes(), tci.to_be_bytes());
        Self([p0, p1, t0, t1])
    }
}

/// A socket that sends and receives whole packets.
///
/// # Invariants
///
/// `sock` belongs to `file` and lives as long as it does; `kind` is its kind. `ring`, if any, is
/// the ring of received packets of the tun or tap queue of `file`, and lives as long.
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
    /// Looks up the socket of a file descriptor of the current task, once.
    ///
    /// # Errors
    ///
    /// `ENOTSOCK` when the file is not of one of these kinds, also when there is no file.
    pub(crate) fn from_fd(fd: i32) -> Result<Self> {
        check_files().map_err(|_| ENOTSOCK)?;
        let fd = u32::try_from(fd).map_err(|_| ENOTSOCK)?;
        let file = LocalFile::fget(fd).map_err(|_| ENOTSOCK)?;
        let (sock, kind) = Self::find(&file)?;
        // SAFETY: The file is a socket's, a tun's or a tap's. Our code runs for operations on its
        // own files, or on none, so this thread is in no `fdget_pos` section on this one.
        let file = unsafe { LocalFile::assume_no_fdget_pos(file) };
        let ring = Self::find_ring(&file, kind);
        // SAFETY: The wait queue of a socket, and that of a tun or tap, which is a part of its
        // socket, is freed after the last reference on the file.
        let file = unsafe { Pollable::new(file) };
        // INVARIANT: All were obtained from `file`.
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

    /// Returns the kind of a tun. No exported function tells it. But TUNGETFILTER with an address
    /// that is not writable returns `EINVAL` at layer 3, where there is no filter, and `EFAULT`
    /// otherwise. Sleeps, and takes `rtnl_mutex`.
    fn tun_kind(file: &LocalFile) -> Kind {
        // SAFETY: The file is a tun's and valid. The address is outside user space.
        let ret = unsafe { ffi::vnr_file_ioctl(file.as_ptr(), ffi::VNR_TUNGETFILTER, usize::MAX) };
        // CAST: The value is an errno.
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

    /// Returns the file of the socket, for waiting on it.
    pub(crate) fn file(&self) -> &Pollable {
        &self.file
    }

    /// Returns whether packets may be sent in batches. This needs a tun or tap queue whose send
    /// buffer is unlimited, so that no send has to wait. A layer-3 tun is excluded, because tun
    /// treats the packets of a batch as Ethernet frames.
    pub(crate) fn takes_batches(&self) -> bool {
        // SAFETY: The socket is valid by the invariant.
        let sndbuf = unsafe { ffi::vnr_sock_sndbuf(self.sock.as_ptr()) };
        matches!(self.kind, Kind::Tun | Kind::Tap) && sndbuf == i32::MAX
    }

    /// Returns whether packets may be sent from the device's pages; see [`super::large`].
    pub(crate) fn takes_pages(&self) -> bool {
        self.kind != Kind::Packet
    }

    /// Returns the room in bytes that an XDP program on the queue may need before each frame.
    pub(super) fn headroom(&self) -> usize {
        // SAFETY: The socket is valid by the invariant.
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

    /// Sends one packet: `len` bytes of `segs`, after their first `skip` bytes. Does not block.
    ///
    /// `more` tells the socket that another packet follows at once.
    ///
    /// # Errors
    ///
    /// Those of the socket. After `EAGAIN` it becomes ready for [`Interest::Writable`]; after
    /// `ENOMEM` and `ENOBUFS` no event follows. `EINVAL` when `segs` has fewer bytes.
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
        // SAFETY: The iterator is that of `segs`, and there are no control data.
        unsafe { self.send_message(&mut msg, len, more) }
    }

    /// Sends one packet: the `len` bytes of `vecs`. `ctl` points to a `struct tun_msg_ctl`.
    ///
    /// # Errors
    ///
    /// As for [`Self::send`].
    ///
    /// # Safety
    ///
    /// The socket must be a tun or tap queue, and `vecs` must have `len` bytes. What `ctl` points
    /// to must be valid for the call and for as long as the queue may use it. So must the pages of
    /// `vecs`, and their contents must not change while there is a reference that was taken by this
    /// call.
    pub(super) unsafe fn send_pages(
        &self,
        vecs: &[ffi::bio_vec],
        len: usize,
        ctl: *mut c_void,
        more: bool,
    ) -> Result {
        let mut msg = message(ctl, size_of::<ffi::tun_msg_ctl>());
        // SAFETY: `vecs` is valid for the number of elements passed, which have `len` bytes.
        unsafe {
            ffi::iov_iter_bvec(
                &mut msg.msg_iter,
                ITER_SOURCE,
                vecs.as_ptr(),
                vecs.len(),
                len,
            )
        };
        // SAFETY: By the safety requirements of this function.
        unsafe { self.send_message(&mut msg, len, more) }
    }

    /// Sends a message.
    ///
    /// # Safety
    ///
    /// The iterator and the control data of the message must be valid for this kind of socket.
    unsafe fn send_message(&self, msg: &mut ffi::msghdr, len: usize, more: bool) -> Result {
        if more {
            msg.msg_flags |= ffi::VNR_MSG_MORE;
        }
        // SAFETY: The socket is valid by the invariant, and the message by the safety requirements.
        let ret = unsafe { ffi::vnr_sock_sendmsg(self.sock.as_ptr(), msg, len) };
        if ret < 0 {
            return Err(Error::from_errno(ret));
        }
        Ok(())
    }

    /// Receives one packet into `segs`, after their first `skip` bytes. `control` is an entry of
    /// the socket's ring, or null. Returns the length of the packet, even if it was truncated.
    ///
    /// # Errors
    ///
    /// Those of the socket; `EFAULT` when `segs` is not writable.
    ///
    /// # Safety
    ///
    /// `control` must be null, or an entry of this socket's own ring that the caller gives up.
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
                // SAFETY: By the safety requirements an entry of a ring that was given up.
                unsafe { ffi::tun_ptr_free(control) };
            }
            return Err(e);
        }
        let flags = (ffi::VNR_MSG_DONTWAIT | ffi::VNR_MSG_TRUNC) as i32;
        // SAFETY: Socket and message are valid. The entry is consumed, also on error.
        let ret = unsafe { ffi::vnr_sock_recvmsg(self.sock.as_ptr(), &mut msg, len, flags) };
        usize::try_from(ret).map_err(|_| Error::from_errno(ret))
    }

    /// Returns the length of the first packet in the socket's receive queue, with its VLAN tag, and
    /// the tag itself if it is stored outside the frame.
    pub(super) fn first_queued(&self) -> Option<(usize, Option<VlanTag>)> {
        let mut flags = 0;
        let (mut len, mut tag) = (0, None);
        // SAFETY: The socket is valid by the invariant. The packet is only used while its queue is
        // locked.
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
