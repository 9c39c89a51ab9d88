from .broadcast_bn_hook import BroadcastBNHook
from .contact_sheet_hook import ContactSheetHook
from .safe_checkpoint_hook import SafeCheckpointHook

__all__ = ['BroadcastBNHook', 'ContactSheetHook', 'SafeCheckpointHook']
