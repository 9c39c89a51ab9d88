"""ViT checkpoints of several makers are the same network here."""

import timm
import torch
from mmpretrain.registry import MODELS

from cdc_mm.checkpoints import fit_backbone, pick_backbone
from cdc_mm.models.encoders import build_encoder

SIZE, PATCH, DIM = 32, 16, 12


def timm_vit(**kwargs):
    torch.manual_seed(0)
    model = timm.create_model(
        'vit_tiny_patch16_224',
        img_size=SIZE,
        embed_dim=DIM,
        depth=2,
        num_heads=2,
        num_classes=0,
        **kwargs,
    )
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(torch.randn_like(p) * 0.3)
    return model.eval()


def mmpretrain_vit(**kwargs):
    arch = dict(embed_dims=DIM, num_layers=2, num_heads=2, feedforward_channels=4 * DIM)
    return build_encoder(
        dict(type='VisionTransformer', arch=arch, img_size=SIZE, patch_size=PATCH, **kwargs)
    ).eval()


def fill(encoder, state, tmp_path):
    torch.save(state, tmp_path / 'x.pth')
    encoder.load_weights(str(tmp_path / 'x.pth'))
    return encoder


def same_rows(encoder, model):
    x = torch.randn(2, 3, SIZE, SIZE)
    torch.testing.assert_close(encoder(x), model(x), rtol=1e-4, atol=1e-4)


def test_timm_and_dino_in_mmpretrains_vit(tmp_path):
    model = timm_vit()
    norm = dict(type='LN', eps=1e-6)
    state = {**model.state_dict(), 'head.weight': torch.zeros(5, DIM)}
    same_rows(fill(mmpretrain_vit(norm_cfg=norm), state, tmp_path), model)
    # DINO's full checkpoints hold student and teacher.
    full = dict(teacher={f'backbone.{k}': v for k, v in model.state_dict().items()}, student={})
    full['teacher']['head.mlp.0.weight'] = torch.zeros(1)
    same_rows(fill(mmpretrain_vit(norm_cfg=norm), full, tmp_path), model)
    # MoCo v3's ViT.
    moco = {f'module.base_encoder.{k}': v for k, v in model.state_dict().items()}
    moco['module.base_encoder.head.0.weight'] = torch.zeros(1)
    same_rows(fill(mmpretrain_vit(norm_cfg=norm), dict(state_dict=moco), tmp_path), model)


def test_dinov2_in_timms_and_mmpretrains(tmp_path):
    model = timm_vit(init_values=1e-5)
    state = {**model.state_dict(), 'mask_token': torch.zeros(1, DIM)}
    own = mmpretrain_vit(norm_cfg=dict(type='LN', eps=1e-6), layer_scale_init_value=1e-5)
    same_rows(fill(own, state, tmp_path), model)
    cfg = dict(
        type='TimmEncoder', name='vit_tiny_patch16_224', img_size=SIZE, embed_dim=DIM, depth=2,
        num_heads=2, init_values=1e-5,
    )  # fmt: skip
    same_rows(fill(MODELS.build(cfg).eval(), state, tmp_path), model)


def open_clip_state():
    """What OpenCLIP's release of such a ViT holds, by its names."""
    torch.manual_seed(1)
    shapes = {
        'visual.class_embedding': (DIM,),
        'visual.positional_embedding': ((SIZE // PATCH) ** 2 + 1, DIM),
        'visual.proj': (DIM, 7),
        'visual.conv1.weight': (DIM, 3, PATCH, PATCH),
        'logit_scale': (),
        'token_embedding.weight': (9, 7),
        'transformer.resblocks.0.ln_1.weight': (7,),
    }
    for name in ('ln_pre', 'ln_post'):
        shapes.update({f'visual.{name}.{part}': (DIM,) for part in ('weight', 'bias')})
    for i in range(2):
        block = f'visual.transformer.resblocks.{i}'
        for name in ('ln_1', 'ln_2'):
            shapes.update({f'{block}.{name}.{part}': (DIM,) for part in ('weight', 'bias')})
        for name, rows, columns in (
            ('attn.in_proj_', 3 * DIM, DIM),
            ('attn.out_proj.', DIM, DIM),
            ('mlp.c_fc.', 4 * DIM, DIM),
            ('mlp.c_proj.', DIM, 4 * DIM),
        ):
            shapes[f'{block}.{name}weight'] = (rows, columns)
            shapes[f'{block}.{name}bias'] = (rows,)
    return {name: torch.randn(shape) * 0.3 for name, shape in shapes.items()}


def test_open_clips_tower_is_what_timm_makes_of_it(tmp_path):
    state = open_clip_state()
    model = timm_vit(pre_norm=True, norm_layer=torch.nn.LayerNorm)
    expected = timm.models.vision_transformer.checkpoint_filter_fn(dict(state), model)
    weights = pick_backbone(state, 'x')
    own = model.state_dict()
    assert weights.keys() == own.keys()
    for name in own:
        assert torch.equal(weights[name], expected[name].reshape(own[name].shape)), name
    model.load_state_dict(weights)
    encoder = mmpretrain_vit(pre_norm=True)
    assert fit_backbone(weights, encoder.backbone).keys() == encoder.backbone.state_dict().keys()
    same_rows(fill(encoder, state, tmp_path), model)
