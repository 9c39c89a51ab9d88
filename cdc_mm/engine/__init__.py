from .hooks import BroadcastBNHook, ContactSheetHook, SafeCheckpointHook

__all__ = ['BroadcastBNHook', 'ContactSheetHook', 'SafeCheckpointHook']
