//! How much memory a device has, and how much of it this process may take. wgpu does not tell, so each API is asked through wgpu's
//! own handle.

use serde::{Deserialize, Serialize};

use super::memory::host_memory_available;

/// Memory of a device, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceMemory {
    /// What there is. On a device that shares the host's memory this is the part that the driver lends.
    pub total: u64,
    /// What this process may take, what it has already included; [`DeviceMemory::total`] where the driver does not tell.
    pub budget: u64,
}

/// The memory of `adapter`; None where its API has no answer (GL). Software takes the host's: what is free there now.
pub(super) fn of(adapter: &wgpu::Adapter) -> Option<DeviceMemory> {
    if adapter.get_info().device_type == wgpu::DeviceType::Cpu {
        return host_memory_available().map(|free| DeviceMemory { total: free, budget: free });
    }
    match adapter.get_info().backend {
        #[cfg(not(target_vendor = "apple"))]
        wgpu::Backend::Vulkan => vulkan(adapter),
        #[cfg(target_vendor = "apple")]
        wgpu::Backend::Metal => metal(adapter),
        #[cfg(windows)]
        wgpu::Backend::Dx12 => dx12(adapter),
        _ => None,
    }
}

/// The heaps that are the device's own, with `VK_EXT_memory_budget` where the driver has it.
#[cfg(not(target_vendor = "apple"))]
fn vulkan(adapter: &wgpu::Adapter) -> Option<DeviceMemory> {
    use ash::vk;

    #[expect(unsafe_code, reason = "the handle is only read from, and lives as long as the adapter")]
    // SAFETY: see the reason; nothing that wgpu owns is changed or destroyed.
    let hal = unsafe { adapter.as_hal::<wgpu::hal::api::Vulkan>() }?;
    let (instance, device) = (hal.shared_instance(), hal.raw_physical_device());
    let has_budget = hal.physical_device_capabilities().supports_extension(ash::ext::memory_budget::NAME)
        && instance.instance_api_version() >= vk::API_VERSION_1_1
        && hal.physical_device_capabilities().properties().api_version >= vk::API_VERSION_1_1;
    let mut budget = vk::PhysicalDeviceMemoryBudgetPropertiesEXT::default();
    let mut asked = vk::PhysicalDeviceMemoryProperties2::default();
    let heaps = if has_budget {
        asked = asked.push_next(&mut budget);
        #[expect(
            unsafe_code,
            reason = "a query of Vulkan 1.1, which both sides have; its chain is of a known extension"
        )]
        // SAFETY: see the reason; instance and device are alive, as `hal` is.
        unsafe {
            instance.raw_instance().get_physical_device_memory_properties2(device, &mut asked);
        }
        asked.memory_properties
    } else {
        #[expect(unsafe_code, reason = "a query of Vulkan 1.0")]
        // SAFETY: instance and device are alive, as `hal` is.
        unsafe {
            instance.raw_instance().get_physical_device_memory_properties(device)
        }
    };
    let own = heaps.memory_heaps_as_slice().iter().zip(budget.heap_budget);
    let own = own.filter(|(heap, _)| heap.flags.contains(vk::MemoryHeapFlags::DEVICE_LOCAL));
    let (total, told) = own.fold((0_u64, 0_u64), |(total, told), (heap, budget)| {
        (total.saturating_add(heap.size), told.saturating_add(budget))
    });
    memory(total, told)
}

/// What Metal says can be used with good performance, which is less than what there is.
#[cfg(target_vendor = "apple")]
fn metal(adapter: &wgpu::Adapter) -> Option<DeviceMemory> {
    use objc2_metal::MTLDevice as _;

    #[expect(unsafe_code, reason = "the handle is only read from, and lives as long as the adapter")]
    // SAFETY: see the reason; nothing that wgpu owns is changed or destroyed.
    let hal = unsafe { adapter.as_hal::<wgpu::hal::api::Metal>() }?;
    let most = hal.raw_device().recommendedMaxWorkingSetSize();
    memory(most, most)
}

/// The video memory of a card, the shared one where it has none of its own; and what the system grants this process.
#[cfg(windows)]
fn dx12(adapter: &wgpu::Adapter) -> Option<DeviceMemory> {
    use windows::Win32::Graphics::Dxgi::DXGI_MEMORY_SEGMENT_GROUP_LOCAL;

    #[expect(unsafe_code, reason = "the handle is only read from, and lives as long as the adapter")]
    // SAFETY: see the reason; nothing that wgpu owns is changed or destroyed.
    let hal = unsafe { adapter.as_hal::<wgpu::hal::api::Dx12>() }?;
    let raw = hal.raw_adapter();
    #[expect(unsafe_code, reason = "a query of the adapter's description")]
    // SAFETY: the adapter is alive, as `hal` is.
    let about = unsafe { raw.GetDesc() }.ok()?;
    let total = if about.DedicatedVideoMemory > 0 { about.DedicatedVideoMemory } else { about.SharedSystemMemory };
    let told = raw.query_video_memory_info(DXGI_MEMORY_SEGMENT_GROUP_LOCAL).map_or(0, |info| info.Budget);
    memory(total as u64, told)
}

/// None where nothing is known of the device; its total as the budget where the driver tells none.
fn memory(total: u64, told: u64) -> Option<DeviceMemory> {
    (total > 0).then(|| DeviceMemory { total, budget: if told == 0 { total } else { told.min(total) } })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_never_more_than_there_is() {
        assert_eq!(memory(0, 0), None);
        assert_eq!(memory(8, 0), Some(DeviceMemory { total: 8, budget: 8 }));
        assert_eq!(memory(8, 6), Some(DeviceMemory { total: 8, budget: 6 }));
        assert_eq!(memory(8, 9), Some(DeviceMemory { total: 8, budget: 8 }));
    }

    /// Software Vulkan answers the same questions as a card: its heap is the machine's memory.
    #[cfg(target_os = "linux")]
    #[test]
    fn vulkan_tells_the_memory_of_its_heaps() {
        let backends = wgpu::Backends::VULKAN;
        let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
        descriptor.backends = backends;
        let adapters = pollster::block_on(wgpu::Instance::new(descriptor).enumerate_adapters(backends));
        if adapters.is_empty() {
            println!("skipped: there is no Vulkan adapter");
        }
        for adapter in &adapters {
            let DeviceMemory { total, budget } = vulkan(adapter).unwrap();
            println!("{}: {budget} of {total} bytes", adapter.get_info().name);
            assert!(budget <= total && budget >= 1 << 26 && total < 1 << 50, "{budget} of {total}");
        }
    }
}
