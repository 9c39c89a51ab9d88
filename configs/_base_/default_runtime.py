# What a training that finds clusters has.
_base_ = 'runtime.py'

default_hooks = dict(
    contact_sheet=dict(type='ContactSheetHook'),
    # Sizes what the model keeps by the data, such as a queue.
    prepare=dict(type='PrepareClustererHook'),
)
