"""Cut out a photograph with ONNX Runtime, NumPy and Pillow; neither PyTorch nor this project is needed.

cheapmatting export cheapmatting-light --format onnx --trimap plane --out matte.onnx
python examples/onnx_runtime.py matte.onnx photo.jpg trimap.png cutout.png
"""

import sys

import numpy as np
import onnxruntime
from PIL import Image

model, photo, trimap, output = sys.argv[1:]
session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
image = Image.open(photo).convert("RGB")
rgb = np.asarray(image, np.float32).transpose(2, 0, 1)[None] / 255  # [1, 3, H, W]
grey = np.asarray(Image.open(trimap).convert("L"), np.float32)[None, None]  # [1, 1, H, W]
alpha = session.run(["alpha"], {"image": rgb, "trimap": grey})[0][0, 0]  # [H, W] in 0..1
image.putalpha(Image.fromarray(np.rint(alpha * 255).astype(np.uint8)))
image.save(output)
