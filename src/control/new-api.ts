import { type TypeBoxTypeProvider, TypeBoxValidatorCompiler } from '@fastify/type-provider-typebox';
import fastify from 'fastify';
import type { Log } from '../base/log.js';
import { type HttpLimits, serverOptions } from './http-server.js';
import { problemHandler } from './problem.js';

export type ControlApi = ReturnType<typeof newApi>;

/** Far more than a name needs: 1023 bytes at most, each of which may be written as %XX. */
const MAX_PARAMETER_LENGTH = 3 * 4096;

/** Creates an API without routes. */
export function newApi(log: Log, limits: HttpLimits) {
  return fastify({
    ...serverOptions(limits),
    return503OnClosing: false,
    routerOptions: { maxParamLength: MAX_PARAMETER_LENGTH },
    // Handles errors of the router, which occur before a route is found.
    frameworkErrors: problemHandler(log),
  })
    .withTypeProvider<TypeBoxTypeProvider>()
    .setValidatorCompiler(TypeBoxValidatorCompiler);
}
