"""System metrics of a worker and its machine, under the names that MLflow's page "System metrics" shows."""

from __future__ import annotations

import psutil


def system_metrics() -> dict[str, float]:
    """``memory_gb`` of this worker, ``device_memory_gb`` at its peak on a GPU, and ``system/...`` of the machine.

    CPU utilization is the average since the last call, at first since psutil was imported.
    """
    import torch

    memory, network = psutil.virtual_memory(), psutil.net_io_counters()
    metrics = {
        "memory_gb": psutil.Process().memory_info().rss / 1e9,
        "system/cpu_utilization_percentage": psutil.cpu_percent(interval=None),
        "system/system_memory_usage_megabytes": memory.used / 1e6,
        "system/system_memory_usage_percentage": memory.percent,
        "system/disk_usage_percentage": psutil.disk_usage("/").percent,
    }
    if network is not None:
        metrics["system/network_receive_megabytes"] = network.bytes_recv / 1e6
        metrics["system/network_transmit_megabytes"] = network.bytes_sent / 1e6
    if torch.cuda.is_available():
        free, total = torch.cuda.mem_get_info()
        metrics["device_memory_gb"] = torch.cuda.max_memory_allocated() / 1e9
        metrics["system/gpu_0_memory_usage_megabytes"] = (total - free) / 1e6
        metrics["system/gpu_0_memory_usage_percentage"] = 100 * (total - free) / total
    return metrics
