"""The press: takes a float ONNX model and makes it small. Every result is standard ONNX that other runtimes load."""
