"""The scene in Blender: geometry from arrays, materials, light, camera, and the two passes of a picture."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import bpy
import numpy as np
from mathutils import Matrix

from .shapes import Array, Mesh
from .strands import Strands, Subject, axes

LIGHTS = ("city", "courtyard", "forest", "interior", "studio", "sunrise", "sunset", "night")
LIGHT_WEIGHTS = (0.17, 0.17, 0.17, 0.15, 0.12, 0.1, 0.08, 0.04)


@dataclass
class Quality:
    """What a picture costs."""

    size: int = 448
    colour_samples: int = 7
    alpha_samples: int = 96
    threads: int = 1


def render(subject: Subject, rng: np.random.Generator, quality: Quality) -> tuple[Array, Array]:
    """Premultiplied linear colour from few samples, denoised, (size, size, 3), and alpha from many, (size, size)."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    settings = _settings(quality, int(rng.integers(2**31)))
    distance = _camera(subject, rng)
    pixel = subject.extent / quality.size
    objects = [_solid(mesh) for mesh in subject.meshes]
    objects += [_curves(strands, pixel) for strands in subject.strands]
    _light(subject, rng, distance)
    settings.cycles.samples = quality.colour_samples
    colour = _picture()
    _make_plain(objects, settings)
    settings.cycles.samples = quality.alpha_samples
    alpha = _picture()
    return colour[..., :3], np.clip(alpha[..., 3], 0, 1)


def _settings(quality: Quality, seed: int) -> bpy.types.Scene:
    scene = bpy.context.scene
    scene.render.engine = "CYCLES"
    scene.render.resolution_x = scene.render.resolution_y = quality.size
    scene.render.resolution_percentage = 100
    scene.render.film_transparent = True
    scene.render.use_persistent_data = True
    scene.render.threads_mode = "FIXED"
    scene.render.threads = quality.threads
    scene.render.image_settings.file_format = "OPEN_EXR"
    scene.render.image_settings.color_mode = "RGBA"
    scene.render.image_settings.color_depth = "32"
    scene.view_settings.view_transform = "Raw"
    cycles = scene.cycles
    cycles.device = "CPU"
    cycles.seed = seed
    cycles.use_adaptive_sampling = False
    cycles.use_denoising = True
    cycles.denoiser = "OPENIMAGEDENOISE"
    cycles.max_bounces = 6
    cycles.diffuse_bounces = 2
    cycles.glossy_bounces = 4
    cycles.transmission_bounces = 5
    cycles.sample_clamp_indirect = 6
    cycles.sample_clamp_direct = 30
    scene.cycles_curves.shape = "RIBBONS"
    scene.cycles_curves.subdivisions = 2
    return scene


def _camera(subject: Subject, rng: np.random.Generator) -> float:
    """A camera that frames the subject; now and then with little depth of field."""
    right, up, backward = axes(subject)
    camera = bpy.data.cameras.new("camera")
    camera.lens = float(rng.choice([50, 70, 85, 120]))
    distance = subject.extent / (2 * np.tan(camera.angle / 2))
    camera.clip_start, camera.clip_end = distance / 50, distance * 50
    holder = bpy.data.objects.new("camera", camera)
    matrix = np.eye(4)
    matrix[:3, 0], matrix[:3, 1], matrix[:3, 2] = right, up, backward
    matrix[:3, 3] = subject.centre + backward * distance
    holder.matrix_world = Matrix(matrix.tolist())
    bpy.context.scene.collection.objects.link(holder)
    bpy.context.scene.camera = holder
    if rng.uniform() < 0.22:
        camera.dof.use_dof = True
        camera.dof.focus_distance = float(distance - subject.extent * rng.uniform(0.0, 0.3))
        blur = rng.uniform(0.006, 0.03) * subject.extent
        camera.dof.aperture_fstop = camera.lens / 1000 / (2 * blur * 2)
    return float(distance)


def _light(subject: Subject, rng: np.random.Generator, distance: float) -> None:
    """One of Blender's photographed surroundings, turned at random; often a lamp, sometimes from behind."""
    world = bpy.data.worlds.new("world")
    bpy.context.scene.world = world
    world.use_nodes = True
    nodes, links = world.node_tree.nodes, world.node_tree.links
    nodes.clear()
    name = str(rng.choice(LIGHTS, p=LIGHT_WEIGHTS))
    folder = Path(bpy.utils.resource_path("LOCAL")) / "datafiles" / "studiolights" / "world"
    picture = nodes.new("ShaderNodeTexEnvironment")
    picture.image = bpy.data.images.load(str(folder / f"{name}.exr"))
    mapping = nodes.new("ShaderNodeMapping")
    mapping.inputs["Rotation"].default_value[2] = float(rng.uniform(0, 2 * np.pi))
    links.new(nodes.new("ShaderNodeTexCoord").outputs["Generated"], mapping.inputs["Vector"])
    links.new(mapping.outputs["Vector"], picture.inputs["Vector"])
    background, output = nodes.new("ShaderNodeBackground"), nodes.new("ShaderNodeOutputWorld")
    links.new(picture.outputs["Color"], background.inputs["Color"])
    links.new(background.outputs["Background"], output.inputs["Surface"])
    choice = rng.uniform()
    if choice < 0.3:
        _lamp(subject, rng, distance, turn=rng.uniform(130, 230), power=rng.uniform(1.5, 4))
    elif choice < 0.65:
        _lamp(subject, rng, distance, turn=rng.uniform(-70, 70), power=rng.uniform(1, 3.5))


def _lamp(subject: Subject, rng: np.random.Generator, distance: float, turn: float, power: float) -> None:
    """A sun, `turn` degrees around from the viewer: 0 lights the front, 180 the rim."""
    sun = bpy.data.lights.new("lamp", "SUN")
    sun.energy = float(power)
    sun.angle = float(np.radians(rng.uniform(1, 25)))
    sun.color = np.clip(np.array([1.0, 0.88, 0.75]) + rng.normal(0, 0.06, 3), 0.4, 1).tolist()
    holder = bpy.data.objects.new("lamp", sun)
    holder.rotation_euler = (np.radians(90 - rng.uniform(10, 60)), 0, np.radians(subject.azimuth + turn))
    bpy.context.scene.collection.objects.link(holder)


def _solid(mesh: Mesh) -> bpy.types.Object:
    data = bpy.data.meshes.new("solid")
    data.from_pydata(mesh.vertices.tolist(), [], mesh.faces.tolist())
    data.polygons.foreach_set("use_smooth", np.ones(len(mesh.faces), bool))
    colours = data.attributes.new("tint", "FLOAT_COLOR", "POINT")
    colours.data.foreach_set("color", _with_one(mesh.colours).ravel())
    material = _surface_material(mesh.roughness, mesh.sheen)
    data.materials.append(material)
    return _link(bpy.data.objects.new("solid", data))


def _curves(strands: Strands, pixel: float) -> bpy.types.Object:
    count, length = strands.points.shape[:2]
    data = bpy.data.hair_curves.new("strands")
    data.add_curves([length] * count)
    data.position_data.foreach_set("vector", strands.points.astype(np.float32).ravel())
    radius = data.attributes.get("radius") or data.attributes.new("radius", "FLOAT", "POINT")
    radius.data.foreach_set("value", (strands.width * (1 if strands.solid else pixel) / 2).astype(np.float32).ravel())
    tint = data.attributes.new("tint", "FLOAT_COLOR", "POINT")
    tint.data.foreach_set("color", _with_one(strands.colour).ravel())
    material = _hair_material(strands) if strands.hair else _surface_material(strands.roughness, 0.3)
    data.materials.append(material)
    return _link(bpy.data.objects.new("strands", data))


def _with_one(colours: Array) -> Array:
    return np.concatenate([colours, np.ones((*colours.shape[:-1], 1))], -1).astype(np.float32)


def _link(thing: bpy.types.Object) -> bpy.types.Object:
    bpy.context.scene.collection.objects.link(thing)
    return thing


def _material(shader: str) -> tuple[bpy.types.Material, bpy.types.Node, bpy.types.Node]:
    """A material of one shader, its shader node and a node that reads the tint of the geometry."""
    material = bpy.data.materials.new(shader)
    material.use_nodes = True
    nodes, links = material.node_tree.nodes, material.node_tree.links
    nodes.clear()
    node, output, tint = nodes.new(shader), nodes.new("ShaderNodeOutputMaterial"), nodes.new("ShaderNodeAttribute")
    tint.attribute_name = "tint"
    links.new(node.outputs[0], output.inputs["Surface"])
    return material, node, tint


def _surface_material(roughness: float, sheen: float) -> bpy.types.Material:
    material, node, tint = _material("ShaderNodeBsdfPrincipled")
    material.node_tree.links.new(tint.outputs["Color"], node.inputs["Base Color"])
    node.inputs["Roughness"].default_value = roughness
    node.inputs["Sheen Weight"].default_value = sheen
    return material


def _hair_material(strands: Strands) -> bpy.types.Material:
    material, node, tint = _material("ShaderNodeBsdfHairPrincipled")
    node.parametrization = "ABSORPTION"
    material.node_tree.links.new(tint.outputs["Color"], node.inputs["Absorption Coefficient"])
    node.inputs["Roughness"].default_value = strands.roughness
    node.inputs["Radial Roughness"].default_value = strands.roughness
    node.inputs["Coat"].default_value = strands.coat
    node.inputs["Random Roughness"].default_value = 0.2
    return material


def _make_plain(objects: list[bpy.types.Object], scene: bpy.types.Scene) -> None:
    """Everything glows and nothing is lit: what is left is the coverage, which many samples find at little cost."""
    material, *_ = _material("ShaderNodeEmission")
    for thing in objects:
        thing.data.materials[0] = material
    scene.cycles.use_denoising = False
    scene.cycles.use_adaptive_sampling = True
    scene.cycles.adaptive_threshold = 0.01
    scene.cycles.adaptive_min_samples = 24
    scene.cycles.max_bounces = 0


def _picture() -> Array:
    """Renders the scene; the pixels from the top row down."""
    with tempfile.TemporaryDirectory() as folder, _quiet():
        path = str(Path(folder) / "picture.exr")
        bpy.context.scene.render.filepath = path
        bpy.ops.render.render(write_still=True)
        picture = bpy.data.images.load(path)
        picture.colorspace_settings.name = "Non-Color"
        width, height = picture.size
        pixels = np.empty(width * height * 4, np.float32)
        picture.pixels.foreach_get(pixels)
        bpy.data.images.remove(picture)
    return pixels.reshape(height, width, 4)[::-1].copy()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Blender's own lines to the standard output are dropped."""
    saved, sink = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(sink, 1)
    try:
        yield
    finally:
        os.dup2(saved, 1)
        os.close(saved)
        os.close(sink)
