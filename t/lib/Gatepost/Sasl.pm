# SPDX-License-Identifier: ISC
# The client's half of AUTH over a Gatepost::Smtp, and records for password tables.
#
#   scram_record('secret', 4096)  crypt_record('secret')
#   my $r = plain($c, 'joe', 'secret');         # the deciding reply
#   login($c, $login, $password)  scram($c, $login, $password, %change)
package Gatepost::Sasl;
use strict;
use warnings;
use Digest::SHA qw(hmac_sha256 sha256);
use Exporter 'import';
use MIME::Base64 qw(encode_base64 decode_base64);

our @EXPORT = qw(scram_record crypt_record plain login scram b64 salted);

sub b64 { encode_base64($_[0], '') }

sub salted {
    my ($password, $salt, $iterations) = @_;
    my $sum = my $u = hmac_sha256($salt . pack('N', 1), $password);
    $sum ^= $u = hmac_sha256($u, $password) for 2 .. $iterations;
    return $sum;
}

sub scram_record {
    my ($password, $iterations, $salt) = @_;
    $iterations //= 4096;
    $salt //= join '', map { chr int rand 256 } 1 .. 16;
    my $key = salted($password, $salt, $iterations);
    return "{SCRAM-SHA-256}$iterations," . join ',', map { b64($_) } $salt,
        sha256(hmac_sha256('Client Key', $key)), hmac_sha256('Server Key', $key);
}

sub crypt_record { crypt $_[0], '$6$rounds=1000$' . join '', map { chr(97 + int rand 26) } 1 .. 8 }

sub plain {
    my ($c, $login, $password, $authzid) = @_;
    return $c->cmd('AUTH PLAIN ' . b64(($authzid // '') . "\0$login\0$password"));
}

sub login {
    my ($c, $login, $password) = @_;
    my $r = $c->cmd('AUTH LOGIN');
    $r = $c->cmd(b64($login)) if $r->{code} == 334;
    $r = $c->cmd(b64($password)) if $r->{code} == 334;
    return $r;
}

# CHANGE: code that gets and returns the client-final-message. The reply has {challenge}, and {signed}
# when the server's signature is right. bind => [TYPE, DATA]: with -PLUS; flag => 'y' for 'n'.
sub scram {
    my ($c, $login, $password, $change, %arg) = @_;
    my $flag = $arg{bind} ? "p=$arg{bind}[0]" : $arg{flag} // 'n';
    my $nonce = join '', map { chr(97 + int rand 26) } 1 .. 16;
    my $bare = 'n=' . $login =~ s/=/=3D/gr =~ s/,/=2C/gr . ",r=$nonce";
    my $r = $c->cmd('AUTH SCRAM-SHA-256' . ($arg{bind} ? '-PLUS ' : ' ') . b64("$flag,,$bare"));
    return $r if $r->{code} != 334;
    my $challenge = decode_base64(substr $r->{text}, 4);
    my ($all, $salt, $iterations) = $challenge =~ /^r=(\Q$nonce\E[^,]+),s=([^,]+),i=(\d+)$/
        or return { code => 0, text => "bad challenge $challenge" };
    my $key = salted($password, decode_base64($salt), $iterations);
    my $client = hmac_sha256('Client Key', $key);
    my $without = 'c=' . b64("$flag,," . ($arg{bind} ? $arg{bind}[1] : '')) . ",r=$all";
    my $message = "$bare,$challenge,$without";
    my $final = "$without,p=" . b64($client ^ hmac_sha256($message, sha256($client)));
    $final = $change->($final) if $change;
    $r = $c->cmd(b64($final));
    my $signed = 0;
    if ($r->{code} == 334) {
        $signed = decode_base64(substr $r->{text}, 4)
            eq 'v=' . b64(hmac_sha256($message, hmac_sha256('Server Key', $key)));
        $r = $c->cmd('');
    }
    return { %$r, challenge => $challenge, signed => $signed };
}

1;
