// SPDX-License-Identifier: GPL-2.0

//! The memory of a queue as userspace has set it up, and the checks of its addresses.
//!
//! Only user space is checked, not what is mapped there: every access checks that.

use kernel::{
    prelude::*,
    sync::Arc, //
};

use crate::{
    kapi::uaccess::access_ok,
    virtqueue::{
        features::Negotiated,
        general::Maps,
        iotlb::Iotlb,
        layout::Layout,
        log::{
            self,
            Logging, //
        },
        table::MemTable,
    },
};

/// The memory of a queue; see the [module documentation](self).
pub(super) struct Memory {
    pub(super) table: Option<Arc<MemTable>>,
    /// The index of the region of `table` that was found last.
    pub(super) hint: usize,
    /// Set while `VIRTIO_F_ACCESS_PLATFORM` is negotiated.
    iotlb: Option<Iotlb>,
    /// Whether there is no IOTLB, or the whole ring was mapped by it when that was checked last, and
    /// nothing has changed since.
    ring_mapped: bool,
    /// Whether writes are logged or addresses are translated by the IOTLB.
    is_special: bool,
    /// The address of the log (VHOST_SET_LOG_BASE).
    log_base: u64,
    /// Where the used ring is logged (VHOST_SET_VRING_ADDR).
    used_log: Option<u64>,
}

impl Memory {
    /// The state after open.
    pub(super) const NONE: Self = Self {
        table: None,
        hint: 0,
        iotlb: None,
        ring_mapped: true,
        is_special: false,
        log_base: 0,
        used_log: None,
    };

    /// Returns the memory table and the IOTLB, or `None` if there is no table.
    pub(super) fn maps(&self) -> Option<Maps<'_>> {
        Some(Maps {
            table: self.table.as_deref()?,
            iotlb: self.iotlb.as_ref(),
        })
    }

    /// Returns what is logged.
    pub(super) fn logging(&self, negotiated: Negotiated) -> Logging {
        Logging {
            base: self.log_base,
            data: negotiated.log_all(),
            used: self.used_log,
        }
    }

    /// Returns whether the common way reaches this memory.
    #[inline]
    pub(super) fn is_common(&self) -> bool {
        !self.is_special
    }

    /// Determines by which way this memory is reached.
    pub(super) fn choose_way(&mut self, negotiated: Negotiated) {
        self.is_special = negotiated.is_special() || self.used_log.is_some();
    }

    /// Replaces the memory table. The old one is not in use when this returns.
    pub(super) fn set_table(&mut self, table: Option<Arc<MemTable>>) {
        self.table = table;
        self.hint = 0;
    }

    /// Returns the IOTLB, to be changed.
    pub(super) fn iotlb(&mut self) -> Option<&mut Iotlb> {
        self.forget_ring();
        self.iotlb.as_mut()
    }

    /// Returns whether the whole ring may be used without a check of its translations.
    #[inline]
    pub(super) fn is_ring_mapped(&self) -> bool {
        self.ring_mapped
    }

    /// Sets whether the whole ring is mapped.
    pub(super) fn set_ring_mapped(&mut self, mapped: bool) {
        self.ring_mapped = mapped;
    }

    /// Forgets whether the ring is mapped: its size or its place changes, or the IOTLB does.
    pub(super) fn forget_ring(&mut self) {
        self.ring_mapped = self.iotlb.is_none();
    }

    /// Replaces the IOTLB by an empty one, or removes it. Returns whether the ring's addresses have
    /// lost their meaning by that.
    pub(super) fn set_iotlb(&mut self, iotlb: Option<Iotlb>) -> bool {
        let toggled = self.iotlb.is_some() != iotlb.is_some();
        self.iotlb = iotlb;
        self.forget_ring();
        if toggled {
            self.used_log = None;
        }
        toggled
    }

    /// Sets the log's address.
    pub(super) fn set_log_base(&mut self, base: u64) {
        self.log_base = base;
    }

    /// Sets where the used ring is logged.
    pub(super) fn set_used_log(&mut self, used_log: Option<u64>) {
        self.used_log = used_log;
    }

    /// Checks that the memory table, the ring, and the log that the features ask for are in user
    /// space.
    ///
    /// # Errors
    ///
    /// `EFAULT` when they are not, or when there is no memory table.
    pub(super) fn check_all(&self, layout: Layout, negotiated: Negotiated) -> Result {
        self.check_log(self.log_base, layout, negotiated)?;
        if self.parts_ok(layout, negotiated) {
            Ok(())
        } else {
            Err(EFAULT)
        }
    }

    /// Checks that the memory table, and what the features ask for of a log at `base`, are in user
    /// space.
    ///
    /// # Errors
    ///
    /// As for [`Self::check_all`].
    pub(super) fn check_log(&self, base: u64, layout: Layout, negotiated: Negotiated) -> Result {
        let table = self.table.as_ref().ok_or(EFAULT)?;
        Self::check_regions(table, base, negotiated)?;
        if self.used_log_ok(self.used_log, base, layout, negotiated) {
            Ok(())
        } else {
            Err(EFAULT)
        }
    }

    /// Checks that `table`, and its log if the features ask for it, are in user space.
    ///
    /// # Errors
    ///
    /// `EFAULT`.
    pub(super) fn check_table(&self, table: &MemTable, negotiated: Negotiated) -> Result {
        Self::check_regions(table, self.log_base, negotiated)
    }

    fn check_regions(table: &MemTable, base: u64, negotiated: Negotiated) -> Result {
        let logs = negotiated.log_all();
        if table.regions_ok(access_ok) && (!logs || table.log_ok(base, access_ok)) {
            Ok(())
        } else {
            Err(EFAULT)
        }
    }

    /// Checks that a ring of `layout` and its log at `used_log` are in user space.
    ///
    /// # Errors
    ///
    /// `EINVAL`.
    pub(super) fn check_ring(
        &self,
        layout: Layout,
        used_log: Option<u64>,
        negotiated: Negotiated,
    ) -> Result {
        let logs = self.used_log_ok(used_log, self.log_base, layout, negotiated);
        if self.parts_ok(layout, negotiated) && logs {
            Ok(())
        } else {
            Err(EINVAL)
        }
    }

    fn parts_ok(&self, layout: Layout, negotiated: Negotiated) -> bool {
        // With an IOTLB the addresses are not the owner's.
        self.iotlb.is_some() || layout.parts_ok(negotiated, access_ok)
    }

    fn used_log_ok(
        &self,
        used_log: Option<u64>,
        base: u64,
        layout: Layout,
        negotiated: Negotiated,
    ) -> bool {
        let len = layout.used_len(negotiated);
        match used_log {
            Some(gpa) if self.iotlb.is_none() => log::is_ok(base, gpa, len, access_ok),
            _ => true,
        }
    }
}
