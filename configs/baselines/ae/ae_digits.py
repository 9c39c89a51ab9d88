# An autoencoder on the digits, with the encoder of cdc_digits.py, whose rows are the code.
_base_ = '../../_base_/pretext_digits.py'

model = dict(
    type='AutoEncoder',
    decoder=dict(
        type='ConvDecoder', in_channels=128, channels=(128, 64, 32), image_size=8, out_channels=1
    ),
)
# Images as they are.
data_preprocessor = dict(views=dict(view1=dict(_delete_=True), view2=None))
